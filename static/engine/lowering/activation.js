/** Owns the lowering of activation functions. */

import { cannotLower } from "../graph.js";
import { FUNCTION, OP } from "../plan_format.js";
import { read, sameRows } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node @param {number} mode */
function unary(context, node, mode) {
  const value = context.value(node.inputs[0]);
  const output = context.define(node.outputs[0], value.width, value.rowsKind);
  context.emit({ op: OP.ELEMENTWISE, mode, rowsKind: value.rowsKind, width: value.width, ...read("input", value), ...read("output", output) });
}

/** The exact form; a fused bias is already in the product before. @param {LoweringContext} context @param {Node} node */
export function lowerGelu(context, node) {
  if ((node.attributes.approximate ?? "none") !== "none") throw cannotLower(node, "only the exact form has a kernel");
  unary(context, node, FUNCTION.GELU);
}

/** @param {LoweringContext} context @param {Node} node */
export function lowerRelu(context, node) {
  unary(context, node, FUNCTION.RELU);
}

/** silu(first) * second. @param {LoweringContext} context @param {Node} node */
export function lowerGatedSilu(context, node) {
  const [gate, up] = node.inputs.map((input) => context.value(input));
  if (!sameRows(gate, up)) throw cannotLower(node, "its inputs differ in shape");
  const output = context.define(node.outputs[0], gate.width, gate.rowsKind);
  context.emit({
    op: OP.ELEMENTWISE,
    mode: FUNCTION.SILU_MUL,
    rowsKind: gate.rowsKind,
    width: gate.width,
    ...read("input", gate),
    ...read("second", up),
    ...read("output", output),
  });
}
