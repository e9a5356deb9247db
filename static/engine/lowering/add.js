/** Owns the lowering of Add between rows; additions of a bias are fused before. */

import { cannotLower } from "../graph.js";
import { FUNCTION, OP } from "../plan_format.js";
import { read, sameRows } from "./context.js";

/** @param {import("./context.js").LoweringContext} context @param {import("../graph.js").Node} node */
export function lowerAdd(context, node) {
  const [a, b] = node.inputs.map((input) => context.value(input));
  if (!sameRows(a, b)) throw cannotLower(node, "its inputs differ in shape");
  const output = context.define(node.outputs[0], a.width, a.rowsKind);
  context.emit({
    op: OP.ELEMENTWISE,
    mode: FUNCTION.ADD,
    rowsKind: a.rowsKind,
    width: a.width,
    ...read("input", a),
    ...read("second", b),
    ...read("output", output),
  });
}
