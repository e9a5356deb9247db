/**
 * Owns one form for attention over an encoder's text, whose keys and values the engine computes once for each text:
 *
 *     states - Slice(what the cache holds) - Linear (k, v) - Reshape - Transpose - Concat(cache, .) -+
 *     query -----------------------------------------------------------------------------------------+- MultiHeadAttention
 *
 * becomes "CrossAttention" of the query and of two products with the states.
 */

import { foldConstant } from "../constants.js";
import { madeNode } from "../graph.js";
import { isTextCache } from "../lowering/positions.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 */

/** What a decoder is given of the text. */
export const STATES = "encoder_hidden_states";

/** @param {Graph} graph */
export function formCrossAttention(graph) {
  for (const node of graph.all("MultiHeadAttention")) {
    const products = [1, 2].map((at) => textProduct(graph, node.inputs[at], Number(node.attributes.num_heads)));
    if (products.some((product) => !product) || node.inputs.slice(6).some(Boolean) || node.inputs[3] || node.inputs[4]) continue;
    // Each layer names the states itself: its two products become one, and not those of all layers.
    const states = `${node.name}/states`;
    graph.replace([], madeNode("Identity", states, [STATES], [states], null));
    for (const product of /** @type {Node[]} */ (products)) graph.replace([product], { ...product, inputs: [states] });
    const inputs = [node.inputs[0], ...products.map((product) => /** @type {Node} */ (product).outputs[0]), node.inputs[5] ?? ""];
    const made = madeNode("CrossAttention", node.name, inputs, [node.outputs[0]], {});
    graph.replace([node], { ...made, attributes: node.attributes });
  }
}

/** The Linear whose rows, cut into heads, follow what the cache holds of the text. @param {Graph} graph @param {string} name @param {number} heads @returns {Node | null} */
function textProduct(graph, name, heads) {
  const concat = graph.made(name, "Concat");
  if (concat?.inputs.length !== 2 || concat.attributes.axis !== 2 || !isTextCache(concat.inputs[0])) return null;
  const turned = graph.made(concat.inputs[1], "Transpose");
  const cut = graph.made(turned?.inputs[0], "Reshape");
  const shape = cut && foldConstant(graph, cut.inputs[1])?.data;
  const product = graph.made(cut?.inputs[0], "Linear");
  if (!product || String(turned?.attributes.perm) !== "0,2,1,3" || shape?.length !== 4 || shape[2] !== heads) return null;
  const width = product.detail.parts[0].weight.columns;
  return shape[0] === 0 && shape[1] === 0 && shape[3] * heads === width && isUnseen(graph, product.inputs[0]) ? product : null;
}

/** The states behind those in the cache: Slice([Cast](states), length of the cache). @param {Graph} graph @param {string} name */
function isUnseen(graph, name) {
  const slice = graph.made(name, "Slice");
  const cast = graph.made(slice?.inputs[0], "Cast");
  const length = graph.made(slice?.inputs[1], "Shape");
  if (!slice || (cast ? cast.inputs[0] : slice.inputs[0]) !== STATES || !length || !isTextCache(length.inputs[0])) return false;
  const [ends, axes, steps] = slice.inputs.slice(2).map((input) => foldConstant(graph, input)?.data[0]);
  return length.attributes.start === 2 && length.attributes.end === 3 && Number(ends) > 2 ** 31 && axes === 1 && (steps ?? 1) === 1;
}
