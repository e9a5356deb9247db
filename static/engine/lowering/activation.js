/** Owns the lowering of activation functions, alone or multiplied by a second input. */

import { scalarOf } from "../constants.js";
import { cannotLower } from "../graph.js";
import { FUNCTION, GATED } from "../plan_format.js";
import { emitElementwise, sameRows } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/**
 * A function of the kernels and its factor.
 * @typedef {{mode: number, factor: number}} Activation
 */

/** ai.onnx and com.microsoft agree on these names. @type {Readonly<Record<string, (node: Node) => Activation>>} */
const ACTIVATIONS = {
  FastGelu: () => ({ mode: FUNCTION.GELU_TANH, factor: 0 }),
  Gelu: ({ attributes: { approximate = "none" } }) => ({ mode: approximate === "tanh" ? FUNCTION.GELU_TANH : FUNCTION.GELU, factor: 0 }),
  QuickGelu: ({ attributes: { alpha = 1.702 } }) => ({ mode: FUNCTION.QUICK_GELU, factor: Number(alpha) }),
  Relu: () => ({ mode: FUNCTION.RELU, factor: 0 }),
  Tanh: () => ({ mode: FUNCTION.SOFT_CAP, factor: 1 }),
};

/** What a node computes of its first input alone, when it is an activation. @param {Node} node @returns {Activation | null} */
export function activationOf(node) {
  return ACTIVATIONS[node.opType] && !node.inputs[1] ? ACTIVATIONS[node.opType](node) : null;
}

/** A bias of FastGelu is in the product before. @param {LoweringContext} context @param {Node} node */
export function lowerActivation(context, node) {
  const activation = activationOf(node);
  if (!activation) throw cannotLower(node, "its bias belongs to no product");
  emitElementwise(context, node, { ...activation, a: context.value(node.inputs[0]) });
}

/** activation(first) * second. @param {LoweringContext} context @param {Node} node */
export function lowerGated(context, node) {
  const [a, b] = node.inputs.map((input) => context.value(input));
  if (!sameRows(a, b)) throw cannotLower(node, "its inputs differ in shape");
  const { mode, factor } = /** @type {Activation} */ (node.detail);
  emitElementwise(context, node, { mode: mode + GATED, factor, a, b });
}

/** The bounds are constants; of all that are, only those around 0 have a kernel. @param {LoweringContext} context @param {Node} node */
export function lowerClip(context, node) {
  const [low, high] = node.inputs.slice(1).map((input) => scalarOf(context.graph, input));
  if (!(Number(high) > 0) || low !== -Number(high)) throw cannotLower(node, "only bounds around 0 have a kernel");
  emitElementwise(context, node, { mode: FUNCTION.CLIP, factor: Number(high), a: context.value(node.inputs[0]) });
}

/** limit * tanh(x / limit). @param {LoweringContext} context @param {Node} node */
export function lowerSoftCap(context, node) {
  emitElementwise(context, node, { mode: FUNCTION.SOFT_CAP, factor: node.detail.limit, a: context.value(node.inputs[0]) });
}
