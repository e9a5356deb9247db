/** Owns the lowering of Gather from values: the first token of each sequence, or one element of every row. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { OP, ROWS } from "../plan_format.js";
import { read } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node */
export function lowerPick(context, node) {
  const index = foldConstant(context.graph, node.inputs[1]);
  if (index?.data.length !== 1) throw cannotLower(node, "only one index can be picked");
  if (node.attributes.axis === 1 && index.data[0] === 0 && index.dims.length === 1) pickFirstToken(context, node);
  else if (node.attributes.axis === 2 && index.dims.length === 0) pickElement(context, node, index.data[0]);
  else throw cannotLower(node, "only first tokens and elements of rows can be picked");
}

/** @param {LoweringContext} context @param {Node} node */
function pickFirstToken(context, node) {
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

/** The element stays where it is; its axis is gone. @param {LoweringContext} context @param {Node} node @param {number} index */
function pickElement(context, node, index) {
  const value = context.value(node.inputs[0]);
  const at = index < 0 ? index + value.width : index;
  if (!(at >= 0 && at < value.width) || value.heads !== 1 || value.squeezed) throw cannotLower(node, `its rows have no element ${index}`);
  if (!context.graph.outputs.includes(node.outputs[0])) throw cannotLower(node, "rows without a last axis can only leave the graph");
  context.values.set(node.outputs[0], { ...value, offset: value.offset + 4 * at, width: 1, squeezed: true });
}
