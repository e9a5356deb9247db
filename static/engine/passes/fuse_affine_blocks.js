/**
 * Owns the fusion of affine blocks: a symmetric 4-bit product plus the block-sum correction that makes
 * `scale * code + offset` exact is what one affine product computes.
 *
 *     x --+--------------------- MatMulNBits(codes, scales) --+
 *         +-- Reshape -- ReduceSum -- MatMul(correction) -----+-- Add
 *     correction = Transpose([Cast] Add(Mul(Cast(scales), 8), Cast(offsets)))
 */

import { foldConstant, scalarOf, weightParts } from "../constants.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {Graph} graph */
export function fuseAffineBlocks(graph) {
  for (const add of graph.all("Add")) {
    const product = graph.made(add.inputs[0], "MatMulNBits");
    const correction = graph.made(add.inputs[1], "MatMul");
    if (!product || !correction || graph.soleConsumer(product.outputs[0]) !== add) continue;
    const offsets = correctionOffsets(graph, correction.inputs[1], product.inputs[2]);
    if (product.attributes.bits !== 4 || product.attributes.block_size !== 32 || !offsets) continue;
    if (!isBlockSum(graph, correction.inputs[0], product)) continue;
    graph.replace([product, add], { ...product, outputs: add.outputs, detail: { offsets } });
  }
}

/** @param {Graph} graph @param {string} sums @param {Node} product */
function isBlockSum(graph, sums, product) {
  const reduce = graph.made(sums, "ReduceSum");
  const reshape = graph.made(reduce?.inputs[0], "Reshape");
  if (!reduce || !reshape || reshape.inputs[0] !== product.inputs[0] || reduce.attributes.keepdims !== 0) return false;
  const shape = foldConstant(graph, reshape.inputs[1]);
  const blocks = Math.ceil(Number(product.attributes.K) / 32);
  return scalarOf(graph, reduce.inputs[1]) === 3 && String(shape?.data) === String([0, 0, blocks, 32]);
}

/** @param {Graph} graph @param {string} name @param {string} scales @returns {string | null} the offsets' initializer */
function correctionOffsets(graph, name, scales) {
  const transpose = graph.made(name, "Transpose");
  const cast = graph.made(transpose?.inputs[0], "Cast");
  const add = graph.made(cast ? cast.inputs[0] : transpose?.inputs[0], "Add");
  const mul = graph.made(add?.inputs[0], "Mul");
  if (!add || !mul || scalarOf(graph, mul.inputs[1]) !== 8) return null;
  const [scale] = weightParts(graph, mul.inputs[0]) ?? [];
  const [offset] = weightParts(graph, add.inputs[1]) ?? [];
  return scale && offset && scale === weightParts(graph, scales)?.[0] ? offset.name : null;
}
