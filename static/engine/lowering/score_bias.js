/**
 * Owns the recognition of what a graph adds to the scores of attention: padding, which the engine leaves out; later
 * keys, which it does not look at; and numbers learned for each distance.
 */

import { foldConstant, scalarOf } from "../constants.js";
import { cannotLower } from "../graph.js";
import { FLOAT, FLOAT16 } from "../onnx_model.js";
import { BIAS_MARGIN } from "../plan_format.js";
import { isPositions } from "./positions.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 * @typedef {import("../onnx_model.js").Initializer} Initializer
 */

/**
 * Numbers [buckets, heads], and the bucket of each distance from `lowest` on; those beyond go with the last.
 * @typedef {{values: Initializer, buckets: number[], lowest: number}} Distances
 */

/** What is added to scores. @typedef {{causal: boolean, distances: Distances | null}} ScoreBias */

/** Below this a score adds nothing to a softmax in float32. */
const NEGLIGIBLE = -1000;
/** No table of distances is longer. */
const MAX_DISTANCE = 1 << 16;
const MASKS = ["attention_mask", "encoder_attention_mask"];
/** @type {ScoreBias} */
const NOTHING = { causal: false, distances: null };

/**
 * @param {LoweringContext} context
 * @param {Node} node whose input it is
 * @param {string} name "" for none
 * @returns {ScoreBias}
 */
export function readScoreBias({ graph }, node, name) {
  if (!name || isPadding(graph, name)) return NOTHING;
  const add = graph.made(name, "Add");
  if (add && isPadding(graph, add.inputs[1])) return byDistance(graph, node, add.inputs[0]);
  return byDistance(graph, node, name);
}

/**
 * The table that the kernels read: for each head, the biases by distance, in the middle that of 0.
 * @param {LoweringContext} context
 * @param {Node} node
 * @param {Distances} distances
 * @param {number} heads
 */
export function distanceTable(context, node, { values, buckets, lowest }, heads) {
  if (values.dims[1] !== heads) throw cannotLower(node, `its bias has ${values.dims[1]} heads, not ${heads}`);
  const reach = Math.max(-lowest, lowest + buckets.length - 1);
  const width = 2 * (reach + BIAS_MARGIN) + 1;
  const chosen = Array.from({ length: width }, (_, at) => buckets[Math.min(Math.max(at - (width >> 1) - lowest, 0), buckets.length - 1)]);
  return { bias: { weight: context.weights.chosenRows(values, chosen) }, width };
}

/**
 * [Expand] of Mul(Sub(1, Cast(Unsqueeze(mask))), low): 0 for tokens, low for padding. The engine runs only the tokens,
 * which is the same because exp(low) is 0.
 * @param {Graph} graph
 * @param {string} name
 */
function isPadding(graph, name) {
  const mul = graph.made(graph.made(name, "Expand")?.inputs[0] ?? name, "Mul");
  const sub = graph.made(mul?.inputs[0], "Sub");
  const wide = graph.made(graph.made(sub?.inputs[1], "Cast")?.inputs[0], "Unsqueeze");
  if (!mul || !sub || !wide || !MASKS.includes(wide.inputs[0])) return false;
  const low = scalarOf(graph, mul.inputs[1]);
  return low !== null && low < NEGLIGIBLE && scalarOf(graph, sub.inputs[0]) === 1;
}

/**
 * Unsqueeze(Gather(table, Sub(Clip(Sub(keys, queries), lowest, highest), lowest))), of positions in a row and a column.
 * @param {Graph} graph
 * @param {Node} node
 * @param {string} name
 * @returns {ScoreBias}
 */
function byDistance(graph, node, name) {
  const gather = graph.made(graph.made(name, "Unsqueeze")?.inputs[0], "Gather");
  const index = graph.made(gather?.inputs[1], "Sub");
  const clip = graph.made(index?.inputs[0], "Clip");
  const distance = graph.made(clip?.inputs[0], "Sub");
  if (!gather || gather.attributes.axis !== 1 || !index || !clip || !distance || !isDistance(graph, distance)) {
    throw cannotLower(node, "its attention_bias is neither padding nor by distance");
  }
  const [lowest, highest] = clip.inputs.slice(1).map((input) => scalarOf(graph, input));
  const sound = Number.isInteger(lowest) && Number.isInteger(highest) && Number(lowest) <= 0 && Number(highest) >= 0;
  if (!sound || scalarOf(graph, index.inputs[1]) !== lowest || Number(highest) - Number(lowest) > MAX_DISTANCE) {
    throw cannotLower(node, "the distances of its attention_bias have no kernel");
  }
  const table = readTable(graph, gather.inputs[0]);
  // Later keys are masked by the last column, and not looked at then.
  const causal = table?.masked === true && highest === 1;
  const count = Number(highest) - Number(lowest) + (causal ? 0 : 1);
  if (!table || table.masked !== causal || table.columns !== count) throw cannotLower(node, "the table of its attention_bias has no kernel");
  return { causal, distances: table.values && { values: table.values, buckets: table.buckets, lowest: Number(lowest) } };
}

/** Positions of keys in a row minus those of queries in a column. @param {Graph} graph @param {Node} sub */
function isDistance(graph, sub) {
  const [keys, queries] = sub.inputs.map((input) => graph.made(input, "Unsqueeze"));
  const axisOf = (/** @type {Node | undefined} */ node) => node && scalarOf(graph, node.inputs[1]);
  return axisOf(keys) === 0 && axisOf(queries) === 1 && isPositions(graph, keys?.inputs[0], "all") && isPositions(graph, queries?.inputs[0], "new");
}

/**
 * A table of a bias by distance, without the column that masks: all 0, or learned as Transpose(lookup(values, buckets)).
 * @param {Graph} graph
 * @param {string} name
 * @returns {{masked: boolean, columns: number, values: Initializer | null, buckets: number[]} | null}
 */
function readTable(graph, name) {
  const constant = foldConstant(graph, name);
  if (constant) {
    const { data, dims } = constant;
    const zeros = data.subarray(0, -1).every((value) => value === 0);
    return dims.length === 2 && dims[0] === 1 && zeros && data[data.length - 1] < NEGLIGIBLE ? { masked: true, columns: dims[1] - 1, values: null, buckets: [] } : null;
  }
  const concat = graph.made(name, "Concat");
  const mask = concat && foldConstant(graph, concat.inputs[1]);
  const masked = mask?.dims.length === 2 && mask.dims[1] === 1 && mask.data.every((value) => value < NEGLIGIBLE);
  if (concat && (concat.inputs.length !== 2 || concat.attributes.axis !== 1 || !masked)) return null;
  const turned = graph.made(concat ? concat.inputs[0] : name, "Transpose");
  const lookup = graph.made(turned?.inputs[0], "Embedding");
  const buckets = lookup && foldConstant(graph, lookup.inputs[0])?.data;
  if (!lookup || !buckets || String(turned?.attributes.perm) !== "1,0") return null;
  const [values, ...others] = /** @type {Initializer[]} */ (lookup.detail.weight.values);
  if (others.length > 0 || (values.dataType !== FLOAT && values.dataType !== FLOAT16)) return null;
  if (!buckets.every((bucket) => Number.isInteger(bucket) && bucket >= 0 && bucket < values.dims[0])) return null;
  return { masked: Boolean(concat), columns: buckets.length, values, buckets: [...buckets] };
}
