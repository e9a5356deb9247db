/** Owns the state of one lowering: values by name, steps so far, buffers they use, and the model's limits as they show. */

import { foldConstant } from "../constants.js";
import { cannotLower } from "../graph.js";
import { FLOAT, FLOAT16 } from "../onnx_model.js";
import { FUNCTION, OP } from "../plan_format.js";

/**
 * @typedef {import("../graph.js").Graph} Graph
 * @typedef {import("../graph.js").Node} Node
 * @typedef {import("../weight_layout.js").WeightLayout} WeightLayout
 */

/**
 * An address that is known once memory is laid out: in an arena buffer, among the weights, or a table of row numbers.
 * @typedef {{buffer: number, offset: number} | {weight: number} | {rows: RowTable}} Address
 * @typedef {"ids" | "positions" | "types" | "counted" | "lastRows" | "firstRows"} RowTable
 */

/**
 * Rows of float32 at buffer + offset, `stride` floats apart.
 * @typedef {object} Value
 * @property {number} buffer
 * @property {number} offset bytes
 * @property {number} width
 * @property {number} stride
 * @property {number} rowsKind one of ROWS
 * @property {boolean} [squeezed] whether the last axis, of width 1, is gone
 * @property {number} heads equal parts into which a Reshape cut the width; operators on the last axis work on each
 */

/** A step before its addresses are numbers; the names are those of STEP_FIELDS. @typedef {Record<string, number | Address>} Step */

/** `single`: only runs of one row use it. @typedef {{bytesPerRow: number, rowsKind: number, single: boolean}} Buffer */

/** Lowers the operators of one type. @typedef {(context: LoweringContext, node: Node) => void} Lowering */

/** Bytes of a page of the cache, and of those its layers of each kind use, by SEES. @typedef {{pageBytes: number, bytes: [number, number, number]}} CacheShape */

export class LoweringContext {
  /** @param {Graph} graph @param {WeightLayout} weights @param {Readonly<Record<string, Lowering>>} lowerings by operator type @param {{kvType: number, contextLength: number}} limits kvType is one of KV_TYPE */
  constructor(graph, weights, lowerings, { kvType, contextLength }) {
    this.graph = graph;
    this.lowerings = lowerings;
    this.weights = weights;
    this.kvType = kvType;
    this.contextLength = contextLength;
    /** @type {Step[]} */
    this.steps = [];
    /** @type {Buffer[]} */
    this.buffers = [];
    /** @type {CacheShape} */
    this.cache = { pageBytes: 0, bytes: [0, 0, 0] };
    /** Whether the steps from here on run for one row at a time. */
    this.single = false;
    /** Rows of the token table, so that ids can be checked. */
    this.vocabulary = Infinity;
    /** Positions that tables of the model hold. */
    this.positions = Infinity;
    /** Rows of the table of segments; 0 when the model has none. */
    this.types = Infinity;
    /** The token that positions do not count, where they are counted. @type {number | null} */
    this.pad = null;
    /** @type {Map<string, Value>} */
    this.values = new Map();
    /** @type {Map<string, {buffer: number, offset: number}>} */
    this.quantized = new Map();
    /** @type {Map<string, {weight: number, dims: number[]}>} */
    this.tables = new Map();
  }

  /** A context for another graph, whose steps follow these. @param {Graph} graph @param {number} kvType @returns {LoweringContext} */
  followedBy(graph, kvType) {
    const next = new LoweringContext(graph, this.weights, this.lowerings, { kvType, contextLength: this.contextLength });
    Object.assign(next, { steps: this.steps, buffers: this.buffers });
    return next;
  }

  /** The value of that name, lowered first when it is not there yet. @param {string} name @returns {Value} */
  value(name) {
    const known = this.values.get(name);
    if (known) return known;
    const node = this.graph.producer(name);
    if (!node) throw cannotLower({ name, opType: "value" }, "no operator makes rows of it");
    const lower = this.lowerings[node.opType];
    if (!lower) throw cannotLower(node, "the operator has no lowering");
    lower(this, node);
    const made = this.values.get(name);
    if (!made) throw cannotLower(node, `its output "${name}" has no lowering`);
    return made;
  }

  /** @param {number} bytesPerRow @param {number} rowsKind @returns {{buffer: number, offset: number}} */
  buffer(bytesPerRow, rowsKind) {
    this.buffers.push({ bytesPerRow, rowsKind, single: this.single });
    return { buffer: this.buffers.length - 1, offset: 0 };
  }

  /** A new value in a buffer of its own. @param {string} name @param {number} width @param {number} rowsKind @param {number} [heads] @returns {Value} */
  define(name, width, rowsKind, heads = 1) {
    const value = { ...this.buffer(4 * width, rowsKind), width, stride: width, rowsKind, heads };
    this.values.set(name, value);
    return value;
  }

  /** A value whose rows lie side by side, copied there when they do not. @param {Value} value @returns {Value} */
  contiguous(value) {
    if (value.stride === value.width && value.offset === 0) return value;
    const copy = { ...value, ...this.buffer(4 * value.width, value.rowsKind), stride: value.width };
    const { rowsKind, width } = value;
    this.emit({ op: OP.ELEMENTWISE, mode: FUNCTION.COPY, rowsKind, width, ...read("input", value), ...read("output", copy) });
    return copy;
  }

  /** @param {Step} step */
  emit(step) {
    this.steps.push(step);
  }

  /** The quantized rows of a value, shared by the products that read it. @param {Value} value @param {number} bits */
  quantize(value, bits) {
    const key = [value.buffer, value.offset, value.width, bits].join(" ");
    const known = this.quantized.get(key);
    if (known) return known;
    const blocks = Math.ceil(value.width / 32);
    const target = this.buffer(blocks * this.weights.kernels.fw_activation_block_bytes(), value.rowsKind);
    this.emit({ op: OP.QUANTIZE, rowsKind: value.rowsKind, mode: bits, ...read("input", value), width: value.width, output: target });
    this.quantized.set(key, target);
    return target;
  }

  /** A float vector of `size` among the initializers. @param {Node} node @param {string} name @param {number} size @returns {Address} */
  vector(node, name, size) {
    const initializer = this.graph.initializers.get(name);
    if (!initializer || !isVector(initializer.dims, size) || ![FLOAT, FLOAT16].includes(initializer.dataType)) {
      throw cannotLower(node, `"${name}" is no float vector of ${size}`);
    }
    return { weight: this.weights.vector(initializer) };
  }

  /** A table of positions that is computed, as far as the context needs it. @param {Node} node @param {string} name */
  positionTable(node, name) {
    const known = this.tables.get(name);
    if (known) return known;
    const value = foldConstant(this.graph, name, this.contextLength);
    if (value?.dims.length !== 2 || value.data.length !== value.dims[0] * value.dims[1]) {
      throw cannotLower(node, `its input "${name}" is no constant table`);
    }
    this.positions = Math.min(this.positions, value.dims[0]);
    const table = { weight: this.weights.literal(Float32Array.from(value.data)), dims: value.dims };
    this.tables.set(name, table);
    return table;
  }
}

/** Whether [size], or [1, size], is the shape. @param {readonly number[]} dims @param {number} size */
export function isVector(dims, size) {
  return dims.at(-1) === size && (dims.length === 1 || (dims.length === 2 && dims[0] === 1));
}

/** The fields of a step that read a value. @param {string} field @param {Value} value @returns {Step} */
export function read(field, value) {
  return { [field]: { buffer: value.buffer, offset: value.offset }, [`${field}Stride`]: value.stride };
}

/** @param {Value} a @param {Value} b */
export function sameRows(a, b) {
  return a.rowsKind === b.rowsKind && a.width === b.width && a.heads === b.heads;
}

/**
 * One step over every element of a, and of b or of a vector that all rows share.
 * @param {LoweringContext} context
 * @param {Node} node whose output it makes
 * @param {{mode: number, factor?: number, a: Value, b?: Value, vector?: Address}} operands
 */
export function emitElementwise(context, node, { mode, factor = 0, a, b, vector }) {
  if (vector && a.heads !== 1) throw cannotLower(node, "a vector for each head has no kernel");
  const output = context.define(node.outputs[0], a.width, a.rowsKind, a.heads);
  context.emit({
    op: OP.ELEMENTWISE,
    mode,
    rowsKind: a.rowsKind,
    width: a.width,
    scale: factor,
    ...read("input", a),
    ...(b && read("second", b)),
    ...(vector && { second: vector, secondStride: 0 }),
    ...read("output", output),
  });
}
