/** Owns the two steps that all attention operators become: keys and values into the cache, then queries over it. */

import { cannotLower } from "../graph.js";
import { MAX_HEAD_DIM, OP, ROWS, SEES } from "../plan_format.js";
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
 * @property {number} sees one of SEES
 * @property {number} [window] tokens that a row sees, itself included; 0 for all
 * @property {number} [softcap] 0 for none
 * @property {{cosine: Address, sine: Address, rotaryDim: number} | null} [rotary]
 * @property {{bias: Address, width: number} | null} [distances] what is added to scores by distance
 */

/** Where a layer keeps its keys and values. @typedef {{kvHeads: number, headDim: number, kvType: number, layerOffset: number}} Place */

/**
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {Value[]} inputs query, key and value
 * @param {AttentionShape} shape
 */
export function emitAttention(context, node, [q, k, v], shape) {
  const { heads, kvHeads, sees, rotary = null } = shape;
  if (heads % kvHeads !== 0 || k.width * heads !== q.width * kvHeads) throw cannotLower(node, "its heads do not fit its inputs");
  const place = layerPlace(context, node, k, v, { kvHeads, sees });
  context.emit({ op: OP.APPEND_KV, rowsKind: ROWS.ALL, ...place, heads, ...read("input", q), ...read("second", k), ...read("third", v), ...rotary });
  emitQueries(context, node, q, place, shape);
}

/**
 * Keys and values that queries of other runs read.
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {Value[]} inputs key and value
 * @param {{kvHeads: number, sees: number}} shape
 * @returns {Place}
 */
export function emitKeys(context, node, [k, v], shape) {
  const place = layerPlace(context, node, k, v, shape);
  context.emit({ op: OP.APPEND_KV, rowsKind: ROWS.ALL, ...place, heads: 0, ...read("second", k), ...read("third", v) });
  return place;
}

/**
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {Value} q
 * @param {Place} place
 * @param {AttentionShape} shape
 */
export function emitQueries(context, node, q, place, { heads, sees, window = 0, softcap = 0, distances = null }) {
  if (q.width !== heads * place.headDim || q.rowsKind !== ROWS.ALL) throw cannotLower(node, "its queries do not fit its keys");
  const scale = Number(node.attributes.scale ?? 0) || 1 / Math.sqrt(place.headDim);
  const output = context.define(node.outputs[0], q.width, ROWS.ALL);
  const common = { op: OP.ATTEND, rowsKind: ROWS.ALL, ...place, heads, mode: sees, window, softcap, scale };
  context.emit({ ...common, ...distances, ...read("input", q), ...read("output", output) });
}

/**
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {Value} k
 * @param {Value} v
 * @param {{kvHeads: number, sees: number}} shape
 * @returns {Place}
 */
function layerPlace({ cache, kvType, weights }, node, k, v, { kvHeads, sees }) {
  const headDim = k.width / kvHeads;
  if (!Number.isInteger(headDim) || headDim % 8 !== 0 || headDim < 8 || headDim > MAX_HEAD_DIM) throw cannotLower(node, `heads of ${headDim} have no kernel`);
  if (v.width !== k.width) throw cannotLower(node, "its keys and values differ in width");
  if ([k, v].some(({ rowsKind }) => rowsKind !== ROWS.ALL)) throw cannotLower(node, "it needs whole sequences");
  // Keys that only their own layer reads, in the same run: all layers use the same place.
  const layerOffset = sees === SEES.ALL ? 0 : cache.bytes[sees];
  cache.bytes[sees] = Math.max(cache.bytes[sees], layerOffset + kvHeads * weights.kernels.fw_kv_head_bytes(headDim, kvType));
  cache.pageBytes = Math.max(cache.pageBytes, cache.bytes[sees]);
  return { kvHeads, headDim, kvType, layerOffset };
}
