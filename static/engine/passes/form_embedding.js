/**
 * Owns one form for embedding lookups: Gather from a float table, or from blocks of 8 bits that plain operators scale.
 *
 *     ids --+-- Gather(codes) -- Cast -- Sub(128) --+
 *           +-- Gather(scales) -- [Cast] -- Unsqueeze --+-- Mul -- Reshape -- [Slice off the padding]
 */

import { foldConstant, scalarOf, weightParts } from "../constants.js";
import { cannotLower, madeNode } from "../graph.js";
import { FLOAT, FLOAT16 } from "../onnx_model.js";
import { blockWeight } from "./form_linear.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {Graph} graph */
export function formEmbedding(graph) {
  for (const node of graph.all("Mul")) formQuantized(graph, node);
  for (const node of graph.all("Gather")) if ((node.attributes.axis ?? 0) === 0) formFloat(graph, node);
}

/** @param {Graph} graph @param {Node} node */
function formFloat(graph, node) {
  const values = weightParts(graph, node.inputs[0]);
  if (!values?.every(({ dims, dataType }) => dims.length === 2 && dims[1] === values[0].dims[1] && (dataType === FLOAT || dataType === FLOAT16))) return;
  const columns = values.reduce((sum, { dims }) => sum + dims[0], 0);
  const weight = { kind: "float", columns, inner: values[0].dims[1], values, transposed: false, bits: 0, blockSize: 0, scales: null, offsets: null };
  graph.replace([node], madeNode("Embedding", node.name, [node.inputs[1]], node.outputs, { weight }));
}

/** @param {Graph} graph @param {Node} mul */
function formQuantized(graph, mul) {
  const sub = graph.made(mul.inputs[0], "Sub");
  const codes = graph.made(graph.made(sub?.inputs[0], "Cast")?.inputs[0], "Gather");
  const wide = graph.made(mul.inputs[1], "Unsqueeze");
  const cast = graph.made(wide?.inputs[0], "Cast");
  const scales = graph.made(cast ? cast.inputs[0] : wide?.inputs[0], "Gather");
  if (!sub || !codes || !scales || scalarOf(graph, sub.inputs[1]) !== 128 || codes.inputs[1] !== scales.inputs[1]) return;
  const parts = weightParts(graph, codes.inputs[0]);
  if (!parts?.every(({ dims }) => dims.length === 3)) return;
  const blockSize = parts[0].dims[2];
  const padded = parts[0].dims[1] * blockSize;
  const reshape = graph.soleConsumer(mul.outputs[0]);
  if (reshape?.opType !== "Reshape" || foldConstant(graph, reshape.inputs[1])?.data.at(-1) !== padded) {
    throw cannotLower(mul, "no Reshape joins its blocks");
  }
  const old = [mul, reshape];
  const slice = graph.soleConsumer(reshape.outputs[0]);
  const width = slice?.opType === "Slice" ? slicedWidth(graph, slice) : null;
  if (slice && width !== null) {
    if (width > padded || width <= padded - blockSize) throw cannotLower(slice, "it cuts more than padding");
    old.push(slice);
  }
  const columns = parts.reduce((sum, { dims }) => sum + dims[0], 0);
  const shape = { columns, inner: width ?? padded, bits: 8, blockSize };
  const weight = blockWeight(graph, mul, codes.inputs[0], scales.inputs[0], shape);
  graph.replace(old, madeNode("Embedding", mul.name, [codes.inputs[1]], old[old.length - 1].outputs, { weight }));
}

/** The end of a Slice of the last axis from 0 on. @param {Graph} graph @param {Node} slice @returns {number | null} */
function slicedWidth(graph, slice) {
  const [starts, ends, axes] = slice.inputs.slice(1).map((input) => foldConstant(graph, input)?.data);
  return starts?.[0] === 0 && axes?.[0] === 2 && ends ? ends[0] : null;
}
