/** Owns the lowering of Split along the last axis: parts of rows stay where they are. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";

/** @param {import("./context.js").LoweringContext} context @param {import("../graph.js").Node} node */
export function lowerSplit(context, node) {
  const value = context.value(node.inputs[0]);
  const { axis = 0 } = node.attributes;
  const count = node.outputs.length;
  const sizes = node.inputs[1] ? [...(foldConstant(context.graph, node.inputs[1])?.data ?? [])] : node.outputs.map(() => value.width / count);
  const fits = sizes.length === count && sizes.every((size) => Number.isInteger(size) && size > 0);
  if ((axis !== -1 && axis !== 2) || value.heads !== 1 || !fits || sizes.reduce((sum, size) => sum + size, 0) !== value.width) {
    throw cannotLower(node, "it does not cut the last axis");
  }
  let { offset } = value;
  for (const [at, name] of node.outputs.entries()) {
    if (name) context.values.set(name, { ...value, offset, width: sizes[at] });
    offset += 4 * sizes[at];
  }
}
