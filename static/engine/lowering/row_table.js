/** Owns the recognition of what indexes an embedding table: ids, positions of some kind, segments. */

import { foldConstant, scalarOf } from "../constants.js";
import { cannotLower } from "../graph.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 */

/**
 * Which table of row numbers a node reads.
 * - positions: Unsqueeze(Range(0, length, 1)), or Range(past, past + length, 1) where a cache has a past
 * - counted: of tokens that are not `pad`, from pad + 1 on; pad itself for those that are
 * @param {Graph} graph
 * @param {Node} node
 * @returns {{table: "ids" | "positions" | "types" | "counted", pad: number}} pad is of counted positions only
 */
export function rowTable(graph, node) {
  const [indices] = node.inputs;
  if (graph.inputs.has(indices) && indices === "input_ids") return { table: "ids", pad: 0 };
  if (graph.inputs.has(indices) && indices === "token_type_ids") return { table: "types", pad: 0 };
  if (isPositionRange(graph, indices)) return { table: "positions", pad: 0 };
  const pad = countedPad(graph, indices);
  if (pad !== null) return { table: "counted", pad };
  throw cannotLower(node, "its indices are neither ids nor positions nor segments of tokens");
}

/** @param {Graph} graph @param {string} name */
function isPositionRange(graph, name) {
  const range = graph.made(graph.made(name, "Unsqueeze")?.inputs[0], "Range");
  if (!range || scalarOf(graph, range.inputs[2]) !== 1) return false;
  const end = lengthOf(graph, graph.made(range.inputs[1], "Reshape")?.inputs[0]);
  if (foldConstant(graph, range.inputs[0])?.data[0] === 0) return end === "input_ids";
  const past = graph.made(graph.made(range.inputs[0], "Reshape")?.inputs[0], "Sub");
  return end === "attention_mask" && lengthOf(graph, past?.inputs[0]) === "attention_mask" && lengthOf(graph, past?.inputs[1]) === "input_ids";
}

/** The input whose second axis is measured. @param {Graph} graph @param {string | undefined} name @returns {string | null} */
function lengthOf(graph, name) {
  const shape = graph.made(name, "Shape");
  return shape && shape.attributes.start === 1 && shape.attributes.end === 2 ? shape.inputs[0] : null;
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
