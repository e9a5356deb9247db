/**
 * Owns one form for embedding lookups: Gather from a float table, or from blocks that plain operators dequantize.
 *
 *     ids --+-- Gather(codes) -- Cast [-- nibbles] [-- Sub(zero)] --+
 *           +-- Gather(scales) -- [Cast] -- Unsqueeze --------------+-- Mul --+-- [Add] -- Reshape -- [Slice off padding]
 *           +-- [Gather(offsets) -- [Cast] -- Unsqueeze] --------------------+
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
  for (const node of graph.all("Reshape")) formQuantized(graph, node);
  for (const node of graph.all("Gather")) if ((node.attributes.axis ?? 0) === 0) formFloat(graph, node);
}

/** @param {Graph} graph @param {Node} node */
function formFloat(graph, node) {
  const values = weightParts(graph, node.inputs[0]);
  if (!values?.every(({ dims, dataType }) => dims.length === 2 && dims[1] === values[0].dims[1] && (dataType === FLOAT || dataType === FLOAT16))) return;
  const columns = values.reduce((sum, { dims }) => sum + dims[0], 0);
  const weight = { kind: "float", columns, inner: values[0].dims[1], values, transposed: false, bits: 0, blockSize: 0, scales: null, offsets: null, zeroPoints: null };
  graph.replace([node], madeNode("Embedding", node.name, [node.inputs[1]], node.outputs, { weight }));
}

/** @param {Graph} graph @param {Node} reshape that joins the blocks of a row */
function formQuantized(graph, reshape) {
  const add = graph.made(reshape.inputs[0], "Add");
  const mul = graph.made(add ? add.inputs[0] : reshape.inputs[0], "Mul");
  const scales = gatheredNumbers(graph, mul?.inputs[1]);
  const offsets = add ? gatheredNumbers(graph, add.inputs[1]) : null;
  const found = mul && gatheredCodes(graph, mul.inputs[0]);
  if (!scales || !found || found.centred === Boolean(add) || (add && !offsets)) return;
  const { gather: codes, bits } = found;
  if ([scales, offsets].some((other) => other && other.inputs[1] !== codes.inputs[1])) return;
  const parts = weightParts(graph, codes.inputs[0]);
  if (!parts?.every(({ dims }) => dims.length === 3)) return;
  const blockSize = (parts[0].dims[2] * 8) / bits;
  const padded = parts[0].dims[1] * blockSize;
  if (foldConstant(graph, reshape.inputs[1])?.data.at(-1) !== padded) throw cannotLower(reshape, "it does not join the blocks of a row");
  const old = [reshape];
  const slice = graph.soleConsumer(reshape.outputs[0]);
  const width = slice?.opType === "Slice" ? slicedWidth(graph, slice) : null;
  if (slice && width !== null) {
    if (width > padded || width <= padded - blockSize) throw cannotLower(slice, "it cuts more than padding");
    old.push(slice);
  }
  const columns = parts.reduce((sum, { dims }) => sum + dims[0], 0);
  const shape = { columns, inner: width ?? padded, bits, blockSize };
  const blamed = { ...reshape, detail: offsets && { offsets: weightParts(graph, offsets.inputs[0])?.[0]?.name ?? offsets.inputs[0] } };
  const weight = blockWeight(graph, blamed, codes.inputs[0], scales.inputs[0], shape);
  graph.replace(old, madeNode("Embedding", reshape.name, [codes.inputs[1]], old[old.length - 1].outputs, { weight }));
}

/** The Gather of one number per block. @param {Graph} graph @param {string | undefined} name @returns {Node | undefined} */
function gatheredNumbers(graph, name) {
  const wide = graph.made(name, "Unsqueeze");
  const cast = graph.made(wide?.inputs[0], "Cast");
  return graph.made(cast ? cast.inputs[0] : wide?.inputs[0], "Gather");
}

/** The Gather of codes, and whether half of their range was subtracted. @param {Graph} graph @param {string} name */
function gatheredCodes(graph, name) {
  const sub = graph.made(name, "Sub");
  const zero = sub ? scalarOf(graph, sub.inputs[1]) : null;
  const plain = sub && zero !== null ? sub.inputs[0] : name;
  const nibbles = joinedNibbles(graph, plain);
  const bits = nibbles ? 4 : 8;
  const gather = graph.made(graph.made(nibbles ?? plain, "Cast")?.inputs[0], "Gather");
  if (!gather || (zero !== null && zero !== 2 ** (bits - 1))) return null;
  return { gather, bits, centred: zero !== null };
}

/**
 * The bytes b behind `Reshape(Concat(Unsqueeze(b - 16 high), Unsqueeze(high)))`, where high is `Floor(b / 16)`.
 * @param {Graph} graph
 * @param {string} name
 * @returns {string | null}
 */
function joinedNibbles(graph, name) {
  const concat = graph.made(graph.made(name, "Reshape")?.inputs[0], "Concat");
  if (concat?.inputs.length !== 2 || concat.attributes.axis !== -1) return null;
  const [low, high] = concat.inputs.map((input) => graph.producer(graph.made(input, "Unsqueeze")?.inputs[0] ?? ""));
  const sixteenth = graph.made(high?.opType === "Floor" ? high.inputs[0] : undefined, "Mul");
  const raised = graph.made(low?.opType === "Sub" ? low.inputs[1] : undefined, "Mul");
  if (!low || !high || !sixteenth || !raised || raised.inputs[0] !== high.outputs[0] || low.inputs[0] !== sixteenth.inputs[0]) return null;
  return scalarOf(graph, sixteenth.inputs[1]) === 1 / 16 && scalarOf(graph, raised.inputs[1]) === 16 ? low.inputs[0] : null;
}

/** The end of a Slice of the last axis from 0 on. @param {Graph} graph @param {Node} slice @returns {number | null} */
function slicedWidth(graph, slice) {
  const [starts, ends, axes] = slice.inputs.slice(1).map((input) => foldConstant(graph, input)?.data);
  return starts?.[0] === 0 && axes?.[0] === 2 && ends ? ends[0] : null;
}
