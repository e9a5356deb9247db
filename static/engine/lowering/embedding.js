/** Owns the lowering of embedding lookups, by token id or by position. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { OP, ROWS } from "../plan_format.js";
import { read } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node */
export function lowerEmbedding(context, node) {
  const { weight } = node.detail;
  const rows = rowTable(context, node);
  if (rows === "ids") context.vocabulary = Math.min(context.vocabulary, weight.columns);
  else context.positions = Math.min(context.positions, weight.columns);
  const output = context.define(node.outputs[0], weight.inner, ROWS.ALL);
  const quantized = weight.kind === "nbits";
  context.emit({
    op: quantized ? OP.GATHER_Q8 : OP.GATHER_F32,
    rowsKind: ROWS.ALL,
    input: { rows },
    weight: { weight: quantized ? context.weights.matrix([weight]) : context.weights.table(weight) },
    width: weight.inner,
    ...read("output", output),
  });
}

/** What the indices are: the ids themselves, or Unsqueeze(Range(0, length, 1)). @param {LoweringContext} context @param {Node} node @returns {"ids" | "positions"} */
function rowTable({ graph }, node) {
  const [indices] = node.inputs;
  if (indices === "input_ids" && graph.inputs.has(indices)) return "ids";
  const range = graph.made(graph.made(indices, "Unsqueeze")?.inputs[0], "Range");
  const length = graph.made(graph.made(range?.inputs[1], "Reshape")?.inputs[0], "Shape");
  const starts = range && foldConstant(graph, range.inputs[0])?.data[0] === 0;
  if (starts && length?.inputs[0] === "input_ids" && length.attributes.start === 1) return "positions";
  throw cannotLower(node, "its indices are neither input_ids nor their positions");
}
