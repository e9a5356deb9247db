/**
 * Owns what the steps of a lowered model cost, by the operator classes of the manifest's cost model:
 *
 *     linear_4bit, linear_8bit, linear_float   products with a weight, for every row: packed bytes, multiply-adds
 *     head_4bit, head_8bit, head_float         the same for one row of a run: logits of the last token, classifiers
 *     attention[_window_N]                     for each token that a row sees (at most N): bytes of its key and value,
 *                                              and the multiply-adds of one row with them
 *     cross_attention                          the same for each token of the text that a row answers
 *     elementwise                              all else, for every row: bytes read and written
 */

import { FUNCTION, GATED, KV_TYPE, OP, ROWS, SEES } from "./plan_format.js";

/**
 * @typedef {{bytes: number, macs: number}} OperatorCost
 * @typedef {import("./lowering/context.js").Step} Step
 */

const FLOAT_BYTES = 4;
const BLOCK = 32;
/** Columns that are packed together. */
const GROUP = 8;

/** Class and bits of the weight of each product. @type {Readonly<Record<number, {name: string, bits: number}>>} */
const PRODUCTS = Object.freeze({
  [OP.MATMUL_Q4]: { name: "4bit", bits: 4 },
  [OP.MATMUL_Q8]: { name: "8bit", bits: 8 },
  [OP.MATMUL_Q16]: { name: "float", bits: 16 },
});

/** Functions of two operands. @type {readonly number[]} */
const BINARY = Object.freeze([FUNCTION.ADD, FUNCTION.SUB, FUNCTION.MUL]);

/** Bytes of one element of the cache. @type {Readonly<Record<number, number>>} */
const KV_BYTES = Object.freeze({ [KV_TYPE.F32]: 4, [KV_TYPE.I16]: 2, [KV_TYPE.I8]: 1 });

/**
 * The cost of a model's steps; nothing is run.
 * @param {Pick<import("./lower_model.js").LoweredModel, "steps" | "weights">} model
 * @returns {{perToken: Record<string, OperatorCost>, steps: number}}
 */
export function planCost({ steps, weights }) {
  /** @type {Record<string, OperatorCost>} */
  const perToken = {};
  const charge = (/** @type {string} */ name, /** @type {number} */ bytes, /** @type {number} */ macs) => {
    perToken[name] ??= { bytes: 0, macs: 0 };
    perToken[name].bytes += bytes;
    perToken[name].macs += macs;
  };
  for (const step of steps) {
    const { op, columns, width, mode, rowsKind, heads, kvHeads, headDim, window, kvType } = /** @type {Record<string, number>} */ (step);
    const everyRow = rowsKind === ROWS.ALL;
    const product = PRODUCTS[op];
    if (product) {
      const blockBytes = weights.kernels.fw_packed_block_bytes(product.bits, mode) / GROUP;
      charge(`${everyRow ? "linear" : "head"}_${product.name}`, columns * Math.ceil(width / BLOCK) * blockBytes, columns * width);
    } else if (op === OP.ATTEND) {
      const scales = kvType === KV_TYPE.F32 ? 0 : 2 * FLOAT_BYTES * kvHeads;
      charge(mode === SEES.TEXT ? "cross_attention" : window ? `attention_window_${window}` : "attention", 2 * kvHeads * headDim * KV_BYTES[kvType] + scales, 2 * heads * headDim);
    }
    if (everyRow && !product) charge("elementwise", movedBytes(step, weights.kernels), 0);
  }
  return { perToken, steps: steps.length };
}

/** Bytes of activations that a step reads and writes for a row. @param {Step} step @param {import("./kernels.js").Kernels} kernels */
function movedBytes(step, kernels) {
  const { op, mode, width, heads, kvHeads, headDim, kvType } = /** @type {Record<string, number>} */ (step);
  const floats = FLOAT_BYTES * width;
  if (op === OP.QUANTIZE) return floats + Math.ceil(width / BLOCK) * kernels.fw_activation_block_bytes();
  if (op === OP.ATTEND) return 2 * FLOAT_BYTES * heads * headDim;
  if (op === OP.APPEND_KV) return 2 * FLOAT_BYTES * heads * headDim + 2 * kvHeads * headDim * (FLOAT_BYTES + KV_BYTES[kvType]);
  if (op === OP.NORMALIZE) return floats * (2 + Number("second" in step) + Number("total" in step));
  // A vector that all rows share is read once.
  const second = op === OP.ELEMENTWISE && (mode >= GATED || BINARY.includes(mode)) && step.secondStride !== 0;
  return floats * (2 + Number(second));
}
