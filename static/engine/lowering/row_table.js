/** Owns the recognition of what indexes an embedding table: ids, positions of some kind, segments. */

import { scalarOf } from "../constants.js";
import { cannotLower } from "../graph.js";
import { isPositions } from "./positions.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 */

/**
 * Which table of row numbers a node reads.
 * - positions: of the run's tokens in their sequence
 * - counted: of tokens that are not `pad`, from pad + 1 on; pad itself for those that are
 * @param {Graph} graph
 * @param {Node} node
 * @returns {{table: "ids" | "positions" | "types" | "counted", pad: number}} pad is of counted positions only
 */
export function rowTable(graph, node) {
  const [indices] = node.inputs;
  if (graph.inputs.has(indices) && indices === "input_ids") return { table: "ids", pad: 0 };
  if (graph.inputs.has(indices) && indices === "token_type_ids") return { table: "types", pad: 0 };
  if (isPositions(graph, graph.made(indices, "Unsqueeze")?.inputs[0], "new")) return { table: "positions", pad: 0 };
  const pad = countedPad(graph, indices);
  if (pad !== null) return { table: "counted", pad };
  throw cannotLower(node, "its indices are neither ids nor positions nor segments of tokens");
}

/** The pad of Add(Mul(CumSum(real), real), pad) with real = Cast(Not(Equal(input_ids, pad))). @param {Graph} graph @param {string} name @returns {number | null} */
function countedPad(graph, name) {
  const add = graph.made(name, "Add");
  const mul = graph.made(add?.inputs[0], "Mul");
  const sum = graph.made(mul?.inputs[0], "CumSum");
  const cast = graph.made(mul?.inputs[1], "Cast");
  const equal = graph.made(graph.made(cast?.inputs[0], "Not")?.inputs[0], "Equal");
  if (!add || !sum || !cast || !equal || sum.inputs[0] !== cast.outputs[0] || equal.inputs[0] !== "input_ids") return null;
  const pad = scalarOf(graph, add.inputs[1]);
  const { exclusive = 0, reverse = 0 } = sum.attributes;
  if (exclusive || reverse || scalarOf(graph, sum.inputs[1]) !== 1 || scalarOf(graph, equal.inputs[1]) !== pad) return null;
  return pad !== null && Number.isInteger(pad) && pad >= 0 ? pad : null;
}
