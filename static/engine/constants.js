/** Owns the values that do not depend on the input: small tensors, folded through the few operators graphs use on them. */

import { cannotLower } from "./graph.js";
import { FLOAT, FLOAT16, INT32, INT64 } from "./onnx_model.js";

/**
 * @typedef {import("./graph.js").Graph} Graph
 * @typedef {import("./graph.js").Node} Node
 * @typedef {import("./onnx_model.js").Initializer} Initializer
 * @typedef {{dims: number[], data: Float64Array}} Constant int64 beyond 2^53 are rounded, which shapes never are
 */

/** More than this is a weight, which nobody folds. */
const MAX_ELEMENTS = 1 << 24;
/** Operators in a row: tables of positions take six. A graph that repeats itself would take for ever. */
const MAX_DEPTH = 12;

/** @type {Readonly<Record<string, (args: Constant[], maxRange: number) => Constant>>} */
const FOLDERS = {
  Cast: ([value]) => value,
  Reshape: ([value, shape]) => ({ dims: resolveShape(value, [...shape.data]), data: value.data }),
  Unsqueeze: ([value, axes]) => {
    const dims = [...value.dims];
    for (const axis of [...axes.data].sort((a, b) => a - b)) dims.splice(axis, 0, 1);
    return { dims, data: value.data };
  },
  Range: ([start, limit, delta], maxRange) => {
    const count = Math.min(maxRange, Math.max(0, Math.ceil((limit.data[0] - start.data[0]) / delta.data[0])));
    if (!(count <= MAX_ELEMENTS)) throw new RangeError(`a range of ${count}`);
    return { dims: [count], data: Float64Array.from({ length: count }, (_, at) => start.data[0] + at * delta.data[0]) };
  },
  Mul: ([a, b]) => broadcast(a, b, (x, y) => Math.fround(x * y)),
  Cos: ([value]) => ({ dims: value.dims, data: value.data.map(Math.cos) }),
  Sin: ([value]) => ({ dims: value.dims, data: value.data.map(Math.sin) }),
};

/**
 * The value of a constant expression.
 * @param {Graph} graph
 * @param {string} name
 * @param {number} [maxRange] a Range ends after so many numbers: what is made of positions stops where the context does
 * @returns {Constant | null} null when it depends on an input, on an operator without folding, or on external data
 */
export function foldConstant(graph, name, maxRange = Infinity) {
  return fold(graph, name, maxRange, MAX_DEPTH);
}

/** @param {Graph} graph @param {string} name @param {number} maxRange @param {number} depth @returns {Constant | null} */
function fold(graph, name, maxRange, depth) {
  const initializer = graph.initializers.get(name);
  if (initializer) return initializer.raw && readTensor(initializer);
  const node = graph.producer(name);
  const apply = node && FOLDERS[node.opType];
  if (!node || !apply || depth === 0) return null;
  const args = [];
  for (const input of node.inputs) {
    const value = fold(graph, input, maxRange, depth - 1);
    if (!value) return null;
    args.push(value);
  }
  try {
    return apply(args, maxRange);
  } catch (error) {
    throw cannotLower(node, `its constant value cannot be computed (${error instanceof Error ? error.message : error})`);
  }
}

/** The number that a constant of one element holds. @param {Graph} graph @param {string} name @returns {number | null} */
export function scalarOf(graph, name) {
  const value = foldConstant(graph, name);
  return value?.data.length === 1 ? value.data[0] : null;
}

/**
 * The initializers behind a weight, seen through a Cast or Reshape of it and a Concat of its parts along axis 0.
 * @param {Graph} graph
 * @param {string} name
 * @returns {Initializer[] | null} in order; null when it is no stored weight
 */
export function weightParts(graph, name) {
  const initializer = graph.initializers.get(name);
  if (initializer) return [initializer];
  const node = graph.producer(name);
  if (node?.opType === "Cast" || node?.opType === "Reshape") return weightParts(graph, node.inputs[0]);
  if (node?.opType !== "Concat" || node.attributes.axis !== 0) return null;
  const parts = node.inputs.map((input) => weightParts(graph, input));
  return parts.every((part) => part !== null) ? parts.flat() : null;
}

/** @param {Initializer} tensor @returns {Constant | null} */
function readTensor({ dims, dataType, raw }) {
  if (!raw) return null;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const count = dims.reduce((product, size) => product * size, 1);
  /** @type {(at: number) => number} */
  let read;
  if (dataType === FLOAT) read = (at) => view.getFloat32(4 * at, true);
  else if (dataType === INT32) read = (at) => view.getInt32(4 * at, true);
  else if (dataType === INT64) read = (at) => Number(view.getBigInt64(8 * at, true));
  else if (dataType === FLOAT16) read = (at) => halfToNumber(view.getUint16(2 * at, true));
  else return null;
  return { dims, data: Float64Array.from({ length: count }, (_, at) => read(at)) };
}

/** @param {number} half */
function halfToNumber(half) {
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  const magnitude = exponent === 0 ? mantissa * 2 ** -24 : exponent === 31 ? (mantissa ? NaN : Infinity) : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return half & 0x8000 ? -magnitude : magnitude;
}

/** @param {Constant} value @param {number[]} shape */
function resolveShape({ dims, data }, shape) {
  const copied = shape.map((size, at) => (size === 0 ? dims[at] : size));
  const known = copied.filter((size) => size !== -1).reduce((product, size) => product * size, 1);
  return copied.map((size) => (size === -1 ? data.length / known : size));
}

/** Two-dimensional broadcasting of a column and a row, or of equal sizes and scalars. @param {Constant} a @param {Constant} b @param {(x: number, y: number) => number} apply @returns {Constant} */
function broadcast(a, b, apply) {
  if (a.data.length === 1 || b.data.length === 1 || String(a.dims) === String(b.dims)) {
    const [dims, count] = a.data.length >= b.data.length ? [a.dims, a.data.length] : [b.dims, b.data.length];
    const data = Float64Array.from({ length: count }, (_, at) =>
      apply(a.data[a.data.length === 1 ? 0 : at], b.data[b.data.length === 1 ? 0 : at]),
    );
    return { dims, data };
  }
  const [rows, columns] = [a.dims[0], b.dims[1]];
  if (a.dims[1] !== 1 || b.dims[0] !== 1 || rows * columns > MAX_ELEMENTS) throw new RangeError(`shapes [${a.dims}] and [${b.dims}]`);
  const data = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) data[row * columns + column] = apply(a.data[row], b.data[column]);
  }
  return { dims: [rows, columns], data };
}
