/** Owns operators that give rows another name: casts between floats, and shapes that keep or cut the last axis. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { FLOAT, FLOAT16 } from "../onnx_model.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node */
export function lowerAlias(context, node) {
  if (node.opType === "Cast" && node.attributes.to !== FLOAT && node.attributes.to !== FLOAT16) {
    throw cannotLower(node, "rows are floats and stay floats");
  }
  context.values.set(node.outputs[0], context.value(node.inputs[0]));
}

/**
 * [.., width] keeps rows as they are; [0, 0, heads, size] cuts them into heads, which [0, 0, width] joins again.
 * @param {LoweringContext} context
 * @param {Node} node
 */
export function lowerReshape(context, node) {
  const value = context.value(node.inputs[0]);
  const parts = context.graph.made(node.inputs[1], "Concat");
  const shape = parts ? null : foldConstant(context.graph, node.inputs[1]);
  const last = parts ? foldConstant(context.graph, parts.inputs[parts.inputs.length - 1])?.data.at(-1) : shape?.data.at(-1);
  if (last === value.width) {
    context.values.set(node.outputs[0], { ...value, heads: 1 });
    return;
  }
  const heads = value.width / Number(last);
  const [batch, tokens, count] = shape?.data ?? [];
  if (shape?.data.length !== 4 || batch !== 0 || tokens !== 0 || !Number.isInteger(heads) || heads < 1 || (count !== heads && count !== -1)) {
    throw cannotLower(node, "it changes the last axis, and not to heads");
  }
  context.values.set(node.outputs[0], { ...value, heads });
}
