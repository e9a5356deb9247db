/** Owns the lowering of MultiHeadAttention: in encoders, in decoders over their cache, and over an encoder's text. */

import { cannotLower } from "../graph.js";
import { SEES } from "../plan_format.js";
import { emitAttention, emitKeys, emitQueries } from "./attention.js";
import { isOwnCache } from "./positions.js";
import { distanceTable, readScoreBias } from "./score_bias.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node */
export function lowerMultiHeadAttention(context, node) {
  const [, , , bias, paddingMask, added = "", ...past] = node.inputs;
  const heads = headsOf(node);
  const cached = past.some(Boolean);
  if (bias || paddingMask || (cached && (past.length !== 2 || !past.every((name) => context.graph.inputs.has(name) && isOwnCache(name))))) {
    throw cannotLower(node, "its options have no kernel");
  }
  const { causal, distances } = readScoreBias(context, node, added);
  if (causal !== cached) throw cannotLower(node, cached ? "its rows see later ones" : "it has no cache for the rows that see only those before");
  const inputs = node.inputs.slice(0, 3).map((input) => context.value(input));
  const table = distances && distanceTable(context, node, distances, heads);
  emitAttention(context, node, inputs, { heads, kvHeads: heads, sees: causal ? SEES.PAST : SEES.ALL, distances: table });
}

/**
 * Keys and values of an encoder's text into the cache, once for all queries.
 * @param {LoweringContext} context
 * @param {Node} node CrossAttention
 */
export function storeText(context, node) {
  const inputs = node.inputs.slice(1, 3).map((input) => context.value(input));
  node.detail.place = emitKeys(context, node, inputs, { kvHeads: headsOf(node), sees: SEES.TEXT });
}

/** Queries over the text that is stored. @param {LoweringContext} context @param {Node} node */
export function lowerCrossAttention(context, node) {
  const [query, , , bias] = node.inputs;
  if (!node.detail.place) throw cannotLower(node, "it needs the graph of the encoder beside its own");
  const { causal, distances } = readScoreBias(context, node, bias);
  if (causal || distances) throw cannotLower(node, "its attention_bias is more than padding");
  const heads = headsOf(node);
  emitQueries(context, node, context.value(query), node.detail.place, { heads, kvHeads: heads, sees: SEES.TEXT });
}

/** @param {Node} node */
function headsOf(node) {
  const { num_heads: heads, unidirectional = 0 } = /** @type {Record<string, number>} */ (node.attributes);
  if (unidirectional || !Number.isInteger(heads) || heads < 1) throw cannotLower(node, "its options have no kernel");
  return heads;
}
