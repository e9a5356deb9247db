/** Owns the two steps that both attention operators become: keys and values into the cache, then queries over it. */

import { cannotLower } from "../graph.js";
import { MAX_HEAD_DIM, OP, ROWS } from "../plan_format.js";
import { read } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("./context.js").Address} Address
 * @typedef {import("./context.js").Value} Value
 * @typedef {import("../graph.js").Node} Node
 */

/**
 * @typedef {object} AttentionShape
 * @property {number} heads
 * @property {number} kvHeads
 * @property {boolean} causal
 * @property {number} [window] tokens that a row sees, itself included; 0 for all
 * @property {number} [softcap] 0 for none
 * @property {{cosine: Address, sine: Address, rotaryDim: number} | null} [rotary]
 */

/**
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {Value[]} inputs query, key and value
 * @param {AttentionShape} shape
 */
export function emitAttention(context, node, [q, k, v], { heads, kvHeads, causal, window = 0, softcap = 0, rotary = null }) {
  const headDim = q.width / heads;
  if (!Number.isInteger(headDim) || headDim % 8 !== 0 || headDim < 8 || headDim > MAX_HEAD_DIM) throw cannotLower(node, `heads of ${headDim} have no kernel`);
  if (heads % kvHeads !== 0 || k.width !== kvHeads * headDim || v.width !== k.width) throw cannotLower(node, "its heads do not fit its inputs");
  if ([q, k, v].some(({ rowsKind }) => rowsKind !== ROWS.ALL)) throw cannotLower(node, "it needs whole sequences");
  if (context.cache && context.cache.causal !== causal) throw cannotLower(node, "causal and bidirectional layers are mixed");
  const scale = Number(node.attributes.scale ?? 0) || 1 / Math.sqrt(headDim);
  const { kvType } = context;
  const layerBytes = kvHeads * context.weights.kernels.fw_kv_head_bytes(headDim, kvType);
  // An encoder's keys and values are read by their own layer only: all layers use the same place.
  const layerOffset = causal ? (context.cache?.pageBytes ?? 0) : 0;
  context.cache = { pageBytes: Math.max(context.cache?.pageBytes ?? 0, layerOffset + layerBytes), causal };
  const common = { rowsKind: ROWS.ALL, heads, kvHeads, headDim, kvType, layerOffset };
  context.emit({ op: OP.APPEND_KV, ...common, ...read("input", q), ...read("second", k), ...read("third", v), ...rotary });
  const output = context.define(node.outputs[0], q.width, ROWS.ALL);
  context.emit({ op: OP.ATTEND, ...common, mode: causal ? 1 : 0, window, softcap, scale, ...read("input", q), ...read("output", output) });
}
