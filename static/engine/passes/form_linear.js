/** Owns one form for every product with a weight: MatMulNBits, MatMul and Gemm become "Linear". */

import { weightParts } from "../constants.js";
import { cannotLower, madeNode } from "../graph.js";
import { FLOAT, FLOAT16, UINT8 } from "../onnx_model.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 * @typedef {import("../onnx_model.js").Initializer} Initializer
 */

/**
 * A weight [columns, inner] that a Linear multiplies by.
 * @typedef {object} LinearWeight
 * @property {"nbits" | "float"} kind
 * @property {number} columns
 * @property {number} inner
 * @property {Initializer[]} values codes uint8 [columns, blocks, ...] or floats, in parts along axis 0
 * @property {boolean} transposed floats are stored as [inner, columns]
 * @property {number} bits of codes
 * @property {number} blockSize of codes
 * @property {Initializer | null} scales float16 [columns, blocks]
 * @property {Initializer | null} offsets float16 [columns, blocks] of affine blocks
 * @property {Initializer | null} zeroPoints uint8 [columns, blocks], two to a byte when they have 4 bits
 */

/**
 * One product, or several of the same input merged into one.
 * @typedef {{parts: {weight: LinearWeight, bias: Initializer | null}[]}} LinearDetail
 */

/** @param {Graph} graph */
export function formLinear(graph) {
  for (const node of graph.all("MatMulNBits", "MatMul", "Gemm")) {
    const weight = readWeight(graph, node);
    if (!weight) continue;
    /** @type {LinearDetail} */
    const detail = { parts: [{ weight, bias: node.opType === "MatMulNBits" ? biasOf(graph, node, weight) : null }] };
    graph.replace([node], madeNode("Linear", node.name, [node.inputs[0]], [node.outputs[0]], detail));
  }
}

/** @param {Graph} graph @param {Node} node @returns {LinearWeight | null} */
function readWeight(graph, node) {
  if (node.opType === "MatMulNBits") return nbitsWeight(graph, node);
  if (node.opType === "MatMul") return floatWeight(graph, node, true);
  if (node.opType !== "Gemm") return null;
  const { transA = 0, transB = 0, alpha = 1, beta = 1 } = node.attributes;
  if (transA !== 0 || transB !== 1 || alpha !== 1 || beta !== 1 || node.inputs.length > 2) return null;
  return floatWeight(graph, node, false);
}

/** @param {Graph} graph @param {Node} node @param {boolean} transposed @returns {LinearWeight | null} */
function floatWeight(graph, node, transposed) {
  const values = weightParts(graph, node.inputs[1]);
  if (!values?.every(({ dims, dataType }) => dims.length === 2 && (dataType === FLOAT || dataType === FLOAT16))) return null;
  const rows = values.reduce((sum, { dims }) => sum + dims[0], 0);
  const width = values[0].dims[1];
  if (!values.every(({ dims }) => dims[1] === width)) return null;
  const [columns, inner] = transposed ? [width, rows] : [rows, width];
  return { kind: "float", columns, inner, values, transposed, bits: 0, blockSize: 0, scales: null, offsets: null, zeroPoints: null };
}

/** @param {Graph} graph @param {Node} node @returns {LinearWeight} */
function nbitsWeight(graph, node) {
  const { K, N, bits, block_size: blockSize } = /** @type {Record<string, number>} */ (node.attributes);
  if (node.inputs[4]) throw cannotLower(node, "reordered rows have no kernel");
  const weight = blockWeight(graph, node, node.inputs[1], node.inputs[2], { columns: N, inner: K, bits, blockSize });
  return { ...weight, zeroPoints: zeroPointsOf(graph, node, weight) };
}

/**
 * Find and check the parts of a block-quantized matrix.
 * @param {Graph} graph
 * @param {Node} node whom to blame
 * @param {string} codesName
 * @param {string} scalesName
 * @param {{columns: number, inner: number, bits: number, blockSize: number}} shape
 * @returns {LinearWeight}
 */
export function blockWeight(graph, node, codesName, scalesName, { columns, inner, bits, blockSize }) {
  if (bits !== 4 && bits !== 8) throw cannotLower(node, `${bits}-bit weights have no kernel`);
  if (!(blockSize >= 32) || blockSize % 32 !== 0) throw cannotLower(node, `blocks of ${blockSize} have no kernel`);
  const values = weightParts(graph, codesName);
  const scales = weightParts(graph, scalesName);
  const blocks = Math.ceil(inner / blockSize);
  const blob = (blockSize * bits) / 8;
  const rows = values?.reduce((sum, { dims }) => sum + dims[0], 0);
  if (rows !== columns || !values?.every(({ dims, dataType }) => dataType === UINT8 && dims[1] * (dims[2] ?? 1) === blocks * blob)) {
    throw cannotLower(node, `its weight is no uint8 [${columns}, ${blocks}, ${blob}]`);
  }
  if (scales?.length !== 1 || scales[0].dataType !== FLOAT16 || scales[0].byteLength !== 2 * columns * blocks) {
    throw cannotLower(node, `its scales are no float16 [${columns}, ${blocks}]`);
  }
  return { kind: "nbits", columns, inner, values, transposed: false, bits, blockSize, scales: scales[0], offsets: affineOffsets(graph, node, scales[0]), zeroPoints: null };
}

/** @param {Graph} graph @param {Node} node @param {LinearWeight} weight @returns {Initializer | null} */
function biasOf(graph, node, { columns }) {
  if (!node.inputs[5]) return null;
  const bias = graph.initializers.get(node.inputs[5]);
  if (!bias || String(bias.dims) !== String([columns]) || (bias.dataType !== FLOAT && bias.dataType !== FLOAT16)) {
    throw cannotLower(node, `its bias is no float vector of ${columns}`);
  }
  return bias;
}

/** @param {Graph} graph @param {Node} node @param {LinearWeight} weight @returns {Initializer | null} */
function zeroPointsOf(graph, node, { columns, inner, bits, blockSize, offsets }) {
  const name = node.inputs[3];
  if (!name) return null;
  const points = graph.initializers.get(name);
  const bytes = Math.ceil((Math.ceil(inner / blockSize) * bits) / 8);
  if (points?.dataType !== UINT8 || points.byteLength !== columns * bytes) {
    throw cannotLower(node, `its zero points are no uint8 [${columns}, ${bytes}]`);
  }
  if (offsets) throw cannotLower(node, "blocks with offsets and zero points have no kernel");
  return points;
}

/**
 * The offsets that the correction beside a MatMulNBits adds, when a pass found one.
 * @param {Graph} graph
 * @param {Node} node
 * @param {Initializer} scales
 * @returns {Initializer | null}
 */
function affineOffsets(graph, node, scales) {
  const name = node.detail?.offsets;
  if (!name) return null;
  const offsets = graph.initializers.get(name);
  if (offsets?.dataType !== FLOAT16 || String(offsets.dims) !== String(scales.dims)) {
    throw cannotLower(node, "its offsets do not have the shape of its scales");
  }
  return offsets;
}
