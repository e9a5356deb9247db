/** Owns the two steps that both attention operators become: keys and values into the cache, then queries over it. */

import { cannotLower } from "../graph.js";
import { MAX_HEAD_DIM, OP, PAGE_TOKENS, ROWS } from "../plan_format.js";
import { read } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("./context.js").Address} Address
 * @typedef {import("../graph.js").Node} Node
 */

/**
 * @param {LoweringContext} context
 * @param {Node} node with query, key and value as its first inputs
 * @param {{heads: number, kvHeads: number, half: boolean, causal: boolean, layer: number, rotary: {cosine: Address, sine: Address} | null}} shape
 */
export function emitAttention(context, node, { heads, kvHeads, half, causal, layer, rotary }) {
  const [q, k, v] = node.inputs.slice(0, 3).map((input) => context.value(input));
  const headDim = q.width / heads;
  if (!Number.isInteger(headDim) || headDim % 8 !== 0 || headDim > MAX_HEAD_DIM) throw cannotLower(node, `heads of ${headDim} have no kernel`);
  if (heads % kvHeads !== 0 || k.width !== kvHeads * headDim || v.width !== k.width) throw cannotLower(node, "its heads do not fit its inputs");
  if ([q, k, v].some(({ rowsKind }) => rowsKind !== ROWS.ALL)) throw cannotLower(node, "it needs whole sequences");
  const name = String(node.inputs.slice(0, 2).find((input) => context.graph.soleConsumer(input) !== node) ?? "");
  // Queries and keys are rotated in place.
  if (rotary && name) throw cannotLower(node, `"${name}" is read elsewhere too`);
  const scale = Number(node.attributes.scale ?? 0) || 1 / Math.sqrt(headDim);
  const layerBytes = kvHeads * 2 * PAGE_TOKENS * headDim * (half ? 2 : 4);
  const common = { rowsKind: ROWS.ALL, heads, kvHeads, headDim, half: half ? 1 : 0, layerOffset: layer * layerBytes };
  context.emit({ op: OP.APPEND_KV, ...common, ...read("input", q), ...read("second", k), ...read("third", v), ...rotary });
  const output = context.define(node.outputs[0], q.width, ROWS.ALL);
  context.emit({ op: OP.ATTEND, ...common, mode: causal ? 1 : 0, scale, ...read("input", q), ...read("output", output) });
  return { headDim };
}
