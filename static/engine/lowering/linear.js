/** Owns the lowering of products with a weight: activations are quantized first where the weight is. */

import { cannotLower } from "../graph.js";
import { OP } from "../plan_format.js";
import { read } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** @param {LoweringContext} context @param {Node} node */
export function lowerLinear(context, node) {
  const { parts } = /** @type {import("../passes/form_linear.js").LinearDetail} */ (node.detail);
  const weights = parts.map(({ weight }) => weight);
  const [{ kind, bits, inner, offsets }] = weights;
  const value = context.value(node.inputs[0]);
  if (value.width !== inner || value.heads !== 1) throw cannotLower(node, `its input has ${value.width} columns, its weight ${inner}`);
  const columns = weights.reduce((sum, weight) => sum + weight.columns, 0);
  const input = kind === "nbits" ? { input: context.quantize(value, bits) } : read("input", value);
  const output = { ...context.buffer(4 * columns, value.rowsKind), width: columns, stride: columns, rowsKind: value.rowsKind, heads: 1 };
  const op = kind === "float" ? OP.MATMUL_F32 : bits === 4 ? OP.MATMUL_Q4 : OP.MATMUL_Q8;
  const biased = parts.some(({ bias }) => bias);
  context.emit({
    op,
    rowsKind: value.rowsKind,
    mode: offsets ? 1 : 0,
    ...input,
    weight: { weight: context.weights.matrix(weights) },
    ...(biased && { bias: { weight: context.weights.biases(parts.map(({ weight, bias }) => ({ bias, columns: weight.columns }))) } }),
    width: inner,
    columns,
    ...read("output", output),
  });
  let offset = 0;
  for (const [at, name] of node.outputs.entries()) {
    context.values.set(name, { ...output, offset, width: weights[at].columns });
    offset += 4 * weights[at].columns;
  }
}
