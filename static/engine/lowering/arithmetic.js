/** Owns the lowering of Add, Sub, Mul and Div: of two rows, of a row and a vector, of a row and a number. */

import { scalarOf } from "../constants.js";
import { cannotLower } from "../graph.js";
import { FUNCTION } from "../plan_format.js";
import { emitElementwise, sameRows } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @type {Readonly<Record<string, number>>} */
const FUNCTIONS = { Add: FUNCTION.ADD, Sub: FUNCTION.SUB, Mul: FUNCTION.MUL };

/** @param {LoweringContext} context @param {Node} node */
export function lowerArithmetic(context, node) {
  const { graph } = context;
  const [first, second] = node.inputs;
  const commutes = node.opType === "Add" || node.opType === "Mul";
  // A constant comes second, where the order does not matter.
  const [rows, other] = commutes && isConstant(graph, first) ? [second, first] : [first, second];
  const a = context.value(rows);
  const factor = scalarOf(graph, other);
  if (factor !== null && (node.opType === "Mul" || node.opType === "Div")) {
    emitElementwise(context, node, { mode: FUNCTION.SCALE, factor: node.opType === "Mul" ? factor : 1 / factor, a });
    return;
  }
  const mode = FUNCTIONS[node.opType];
  if (mode === undefined) throw cannotLower(node, "only numbers divide");
  if (graph.initializers.has(other)) {
    emitElementwise(context, node, { mode, a, vector: context.vector(node, other, a.width / a.heads) });
    return;
  }
  const b = context.value(other);
  if (!sameRows(a, b)) throw cannotLower(node, "its inputs differ in shape");
  emitElementwise(context, node, { mode, a, b });
}

/** @param {import("../graph.js").Graph} graph @param {string} name */
function isConstant(graph, name) {
  return graph.initializers.has(name) || scalarOf(graph, name) !== null;
}
