/** Owns the lowering of Gather(value, [0], axis 1): the first token of each sequence, which classifiers read. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { OP, ROWS } from "../plan_format.js";
import { read } from "./context.js";

/** @param {import("./context.js").LoweringContext} context @param {import("../graph.js").Node} node */
export function lowerFirstToken(context, node) {
  const index = foldConstant(context.graph, node.inputs[1]);
  if (node.attributes.axis !== 1 || index?.data.length !== 1 || index.data[0] !== 0) throw cannotLower(node, "only the first token can be picked");
  const value = context.value(node.inputs[0]);
  if (value.rowsKind !== ROWS.ALL || value.stride !== value.width || value.heads !== 1) throw cannotLower(node, "its input has no whole sequences");
  const output = context.define(node.outputs[0], value.width, ROWS.FIRST);
  context.emit({
    op: OP.GATHER_F32,
    rowsKind: ROWS.FIRST,
    input: { rows: "firstRows" },
    weight: { buffer: value.buffer, offset: value.offset },
    width: value.width,
    ...read("output", output),
  });
}
