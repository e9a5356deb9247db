/** Owns the lowering of MultiHeadAttention in encoders: bidirectional, with padding left out instead of masked. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { emitAttention } from "./attention.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** Below this a score adds nothing to a softmax in float32. */
const NEGLIGIBLE = -1000;

/** @param {LoweringContext} context @param {Node} node */
export function lowerMultiHeadAttention(context, node) {
  const { num_heads: heads, unidirectional = 0 } = /** @type {Record<string, number>} */ (node.attributes);
  const [, , , bias, paddingMask, scores, ...rest] = node.inputs;
  if (unidirectional || bias || paddingMask || rest.some(Boolean)) throw cannotLower(node, "its options have no kernel");
  if (scores && !isPaddingBias(context, scores)) throw cannotLower(node, "its attention_bias is more than padding");
  const inputs = node.inputs.slice(0, 3).map((input) => context.value(input));
  emitAttention(context, node, inputs, { heads, kvHeads: heads, causal: false });
}

/**
 * Expand(Mul(Sub(1, Cast(Unsqueeze(attention_mask))), low)): 0 for tokens, low for padding. The engine runs only
 * the tokens, which is the same because exp(low) is 0.
 * @param {LoweringContext} context
 * @param {string} name
 */
function isPaddingBias({ graph }, name) {
  const mul = graph.made(graph.made(name, "Expand")?.inputs[0], "Mul");
  const sub = graph.made(mul?.inputs[0], "Sub");
  const wide = graph.made(graph.made(sub?.inputs[1], "Cast")?.inputs[0], "Unsqueeze");
  if (!mul || !sub || wide?.inputs[0] !== "attention_mask") return false;
  const low = foldConstant(graph, mul.inputs[1])?.data;
  const one = foldConstant(graph, sub.inputs[0])?.data;
  return low?.length === 1 && low[0] < NEGLIGIBLE && one?.length === 1 && one[0] === 1;
}
