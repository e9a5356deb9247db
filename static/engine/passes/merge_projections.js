/** Owns the merging of products that read the same value (query, key and value; gate and up) into one wide product. */

import { madeNode } from "../graph.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 * @typedef {import("./form_linear.js").LinearDetail} LinearDetail
 */

/** @param {Graph} graph */
export function mergeProjections(graph) {
  const tables = new Set(graph.all("Embedding").map(({ detail }) => detail.weight.values[0]));
  /** @type {Map<string, Node[]>} */
  const families = new Map();
  for (const node of graph.all("Linear")) {
    const { weight } = /** @type {LinearDetail} */ (node.detail).parts[0];
    // Columns are packed in eights: only whole groups can lie side by side. A shared table keeps its own place.
    if (weight.columns % 8 !== 0 || tables.has(weight.values[0])) continue;
    const key = [node.inputs[0], weight.kind, weight.bits, weight.inner, weight.offsets !== null, weight.zeroPoints !== null].join("|");
    families.set(key, [...(families.get(key) ?? []), node]);
  }
  for (const nodes of families.values()) {
    if (nodes.length < 2) continue;
    const parts = nodes.flatMap((node) => /** @type {LinearDetail} */ (node.detail).parts);
    const outputs = nodes.map(({ outputs: [output] }) => output);
    graph.replace(nodes, madeNode("Linear", nodes[0].name, [nodes[0].inputs[0]], outputs, { parts }));
  }
}
