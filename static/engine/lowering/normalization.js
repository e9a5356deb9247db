/** Owns the lowering of RMSNorm and LayerNorm, alone or with the residual addition before them. */

import { cannotLower } from "../graph.js";
import { OP } from "../plan_format.js";
import { read, sameRows } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/**
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {{centered: boolean, skip?: string, weight: string, bias?: string, skipBias?: string}} parts
 */
function normalize(context, node, { centered, skip, weight, bias, skipBias }) {
  const { axis = -1, epsilon = 1e-5 } = node.attributes;
  if (axis !== -1) throw cannotLower(node, "only the last axis has a kernel");
  if (node.outputs[1] || node.outputs[2]) throw cannotLower(node, "mean and deviation are not kept");
  const value = context.value(node.inputs[0]);
  const added = skip ? context.value(skip) : null;
  if (added && !sameRows(value, added)) throw cannotLower(node, "its inputs differ in shape");
  const { width, rowsKind, heads } = value;
  const size = width / heads;
  if (heads > 1 && (skip || skipBias || node.outputs[3])) throw cannotLower(node, "heads are normalized without an addition");
  const output = context.define(node.outputs[0], width, rowsKind, heads);
  const total = node.outputs[3] ? context.define(node.outputs[3], width, rowsKind) : null;
  context.emit({
    op: OP.NORMALIZE,
    rowsKind,
    mode: centered ? 1 : 0,
    ...read("input", value),
    ...(added && read("second", added)),
    ...(skipBias && { third: context.vector(node, skipBias, width) }),
    weight: context.vector(node, weight, size),
    ...(bias && { bias: context.vector(node, bias, size) }),
    ...(total && { total: { buffer: total.buffer, offset: total.offset } }),
    width,
    heads,
    scale: Number(epsilon),
    ...read("output", output),
  });
}

/** @param {LoweringContext} context @param {Node} node */
export function lowerRmsNorm(context, node) {
  normalize(context, node, { centered: false, weight: node.inputs[1] });
}

/** @param {LoweringContext} context @param {Node} node */
export function lowerLayerNorm(context, node) {
  normalize(context, node, { centered: true, weight: node.inputs[1], bias: node.inputs[2] });
}

/** @param {LoweringContext} context @param {Node} node */
export function lowerSkipRmsNorm(context, node) {
  const [, skip, weight, skipBias] = node.inputs;
  normalize(context, node, { centered: false, skip, weight, skipBias });
}

/** @param {LoweringContext} context @param {Node} node */
export function lowerSkipLayerNorm(context, node) {
  const [, skip, weight, bias, skipBias] = node.inputs;
  normalize(context, node, { centered: true, skip, weight, bias, skipBias });
}
