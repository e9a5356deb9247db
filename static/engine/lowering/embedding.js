/** Owns the lowering of embedding lookups, and what their tables say about the limits of the model. */

import { cannotLower } from "../graph.js";
import { OP, ROWS } from "../plan_format.js";
import { affineOf } from "../weight_layout.js";
import { read } from "./context.js";
import { rowTable } from "./row_table.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node */
export function lowerEmbedding(context, node) {
  const { weight } = node.detail;
  if (weight.columns < 1) throw cannotLower(node, "its table is empty");
  const { table: rows, pad } = rowTable(context.graph, node);
  if (rows === "ids") context.vocabulary = Math.min(context.vocabulary, weight.columns);
  else if (rows === "positions") context.positions = Math.min(context.positions, weight.columns);
  else if (rows === "types") context.types = Math.min(context.types, weight.columns);
  else {
    if (context.pad !== null && context.pad !== pad) throw cannotLower(node, "its positions skip another token than those before");
    if (weight.columns < pad + 2) throw cannotLower(node, "it has no position after its padding");
    context.pad = pad;
    context.positions = Math.min(context.positions, weight.columns - pad - 1);
  }
  const output = context.define(node.outputs[0], weight.inner, ROWS.ALL);
  const quantized = weight.kind === "nbits";
  context.emit({
    op: !quantized ? OP.GATHER_F32 : weight.bits === 4 ? OP.GATHER_Q4 : OP.GATHER_Q8,
    rowsKind: ROWS.ALL,
    mode: affineOf(weight),
    input: { rows },
    weight: { weight: quantized ? context.weights.matrix([weight]) : context.weights.table(weight) },
    width: weight.inner,
    ...read("output", output),
  });
}
