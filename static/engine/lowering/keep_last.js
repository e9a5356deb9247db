/** Owns the lowering of Slice(value, -num_logits_to_keep): the engine keeps one row, the last of a run. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { OP, ROWS } from "../plan_format.js";
import { read } from "./context.js";

/** @param {import("./context.js").LoweringContext} context @param {import("../graph.js").Node} node */
export function lowerKeepLast(context, node) {
  const { graph } = context;
  const negated = graph.made(graph.made(node.inputs[1], "Reshape")?.inputs[0], "Neg");
  const [ends, axes, steps] = node.inputs.slice(2).map((input) => foldConstant(graph, input)?.data[0]);
  if (negated?.inputs[0] !== "num_logits_to_keep" || !(Number(ends) > 2 ** 31) || axes !== 1 || (steps ?? 1) !== 1) {
    throw cannotLower(node, "only the last rows can be cut out");
  }
  const value = context.value(node.inputs[0]);
  if (value.rowsKind !== ROWS.ALL || value.stride !== value.width || value.heads !== 1) throw cannotLower(node, "its input has no whole sequences");
  const output = context.define(node.outputs[0], value.width, ROWS.LAST);
  context.emit({
    op: OP.GATHER_F32,
    rowsKind: ROWS.LAST,
    input: { rows: "lastRows" },
    weight: { buffer: value.buffer, offset: value.offset },
    width: value.width,
    ...read("output", output),
  });
}
