/** Owns the lowering of products with a weight: activations are quantized first; float weights are packed as 16-bit codes. */

import { cannotLower } from "../graph.js";
import { OP } from "../plan_format.js";
import { affineOf } from "../weight_layout.js";
import { read } from "./context.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** By the bits of weight codes. @type {Readonly<Record<number, number>>} */
const PRODUCTS = Object.freeze({ 4: OP.MATMUL_Q4, 8: OP.MATMUL_Q8, 16: OP.MATMUL_Q16 });

/** @param {LoweringContext} context @param {Node} node */
export function lowerLinear(context, node) {
  const { parts } = /** @type {import("../passes/form_linear.js").LinearDetail} */ (node.detail);
  const weights = parts.map(({ weight }) => weight);
  const [{ kind, bits, inner }] = weights;
  const value = context.value(node.inputs[0]);
  if (value.width !== inner || value.heads !== 1) throw cannotLower(node, `its input has ${value.width} columns, its weight ${inner}`);
  const columns = weights.reduce((sum, weight) => sum + weight.columns, 0);
  const output = { ...context.buffer(4 * columns, value.rowsKind), width: columns, stride: columns, rowsKind: value.rowsKind, heads: 1 };
  const codeBits = kind === "float" ? 16 : bits;
  const biased = parts.some(({ bias }) => bias);
  context.emit({
    op: PRODUCTS[codeBits],
    rowsKind: value.rowsKind,
    mode: affineOf(weights[0]),
    input: context.quantize(value, codeBits),
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
