/** Owns operators that give rows another name: casts between floats, and shapes that keep the last axis. */

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

/** @param {LoweringContext} context @param {Node} node */
export function lowerReshape(context, node) {
  const value = context.value(node.inputs[0]);
  const shape = context.graph.made(node.inputs[1], "Concat");
  const last = foldConstant(context.graph, shape ? shape.inputs[shape.inputs.length - 1] : node.inputs[1])?.data.at(-1);
  if (last !== value.width) throw cannotLower(node, "it changes the last axis");
  context.values.set(node.outputs[0], value);
}
