/**
 * Owns the filling of the weight region while the bytes of the shards arrive, in any order and cut anywhere: whole rows
 * are repacked at once, and only a row that is cut waits for its other part.
 */

import { FeatherweightError } from "../errors.js";
import { FLOAT16 } from "./onnx_model.js";

/**
 * @typedef {import("./kernels.js").Kernels} Kernels
 * @typedef {import("./weight_layout.js").WeightLayout} WeightLayout
 * @typedef {import("./weight_layout.js").Placement} Placement
 */

/**
 * A placement whose tensor lies in a file.
 * @typedef {object} Segment
 * @property {Placement} placement
 * @property {number} start offset of the tensor in its file
 * @property {number} end
 * @property {number} rowBytes
 * @property {number} missing bytes that have not come yet
 * @property {Map<number, {bytes: Uint8Array, filled: number}>} cut rows of which a part has come
 */

/** Bytes that are repacked at once. */
const SLICE_BYTES = 1 << 20;

export class WeightStream {
  #kernels;
  #base;
  /** Where a slice of a file lies while its rows are placed. */
  #slice;
  /** Where a row lies that was put together from parts. */
  #row;
  /** @type {Map<string, Segment[]>} by file */
  #segments = new Map();

  /**
   * Places at once what the graph itself holds. The staging memory ends up on top; `finish` hands it back.
   * @param {Kernels} kernels
   * @param {WeightLayout} layout
   * @param {number} base address of the weights
   * @throws {FeatherweightError} out_of_memory, unsupported
   */
  constructor(kernels, layout, base) {
    const { memory } = kernels;
    this.#kernels = kernels;
    this.#base = base;
    const largestRow = (/** @type {Placement[]} */ placements) =>
      placements.reduce((largest, { initializer, rows }) => Math.max(largest, initializer.byteLength / rows), 0);
    const halves = layout.placements.filter(({ initializer }) => initializer.dataType === FLOAT16);
    this.#slice = memory.allocate(SLICE_BYTES);
    this.#row = memory.allocate(largestRow(layout.placements));
    // Halves become floats, twice as large.
    const scratchBytes = halves.length > 0 ? 2 * Math.max(SLICE_BYTES, largestRow(halves)) : 0;
    memory.scratch = { address: memory.allocate(scratchBytes), bytes: scratchBytes };
    for (const { offset, values } of layout.literals) memory.floats(base + offset, values.length).set(values);
    for (const placement of layout.placements) this.#add(placement);
  }

  /** Files that have to come, in the order in which the graph uses them. */
  get locations() {
    return [...this.#segments.keys()];
  }

  /**
   * Takes a piece of a file; no byte may come twice.
   * @param {string} location a file by the name that the graph gives it
   * @param {number} offset of the piece in the file
   * @param {Uint8Array} bytes not needed any more afterwards
   * @throws {FeatherweightError} unsupported, for weights that cannot be used
   */
  take(location, offset, bytes) {
    const segments = this.#segments.get(location) ?? [];
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES);
      this.#kernels.memory.bytes().set(slice, this.#slice);
      for (const segment of segments) this.#takeOverlap(segment, offset + at, slice);
    }
  }

  /**
   * Checks that everything has come.
   * @throws {FeatherweightError} unsupported, where a tensor lies beyond the end of its file
   */
  finish() {
    for (const [location, segments] of this.#segments) {
      const short = segments.find(({ missing }) => missing > 0);
      if (short) throw broken(short.placement, `lies beyond the end of ${location}`);
    }
    this.#kernels.memory.scratch = { address: 0, bytes: 0 };
    this.#kernels.memory.release(this.#slice);
  }

  /** @param {Placement} placement */
  #add(placement) {
    const { initializer, rows } = placement;
    const { external, raw, byteLength } = initializer;
    const start = external?.offset ?? 0;
    const segment = { placement, start, end: start + byteLength, rowBytes: byteLength / rows, missing: byteLength, cut: new Map() };
    if (external) {
      const known = this.#segments.get(external.location);
      if (known) known.push(segment);
      else this.#segments.set(external.location, [segment]);
      return;
    }
    const bytes = /** @type {Uint8Array} */ (raw);
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      const slice = bytes.subarray(at, at + SLICE_BYTES);
      this.#kernels.memory.bytes().set(slice, this.#slice);
      this.#takeOverlap(segment, at, slice);
    }
  }

  /**
   * Places the rows of a tensor that lie whole in a slice, and keeps its pieces of rows that are cut by the ends.
   * @param {Segment} segment
   * @param {number} offset of the slice in the file
   * @param {Uint8Array} slice
   */
  #takeOverlap(segment, offset, slice) {
    const { start, end, rowBytes } = segment;
    const from = Math.max(start, offset);
    const to = Math.min(end, offset + slice.length);
    if (from >= to) return;
    segment.missing -= to - from;
    const first = Math.ceil((from - start) / rowBytes);
    const last = Math.floor((to - start) / rowBytes);
    if (first < last) this.#place(segment.placement, this.#slice + start + first * rowBytes - offset, first, last - first);
    const headEnd = Math.min(to, start + first * rowBytes);
    if (from < headEnd) this.#keepPiece(segment, first - 1, from, slice.subarray(from - offset, headEnd - offset));
    const tail = start + last * rowBytes;
    if (last >= first && tail < to) this.#keepPiece(segment, last, tail, slice.subarray(tail - offset, to - offset));
  }

  /**
   * @param {Segment} segment
   * @param {number} row
   * @param {number} offset of the piece in the file
   * @param {Uint8Array} piece
   */
  #keepPiece({ placement, start, rowBytes, cut }, row, offset, piece) {
    let held = cut.get(row);
    if (!held) cut.set(row, (held = { bytes: new Uint8Array(rowBytes), filled: 0 }));
    held.bytes.set(piece, offset - start - row * rowBytes);
    held.filled += piece.length;
    if (held.filled < rowBytes) return;
    cut.delete(row);
    this.#kernels.memory.bytes().set(held.bytes, this.#row);
    this.#place(placement, this.#row, row, 1);
  }

  /** @param {Placement} placement @param {number} source address @param {number} first @param {number} count */
  #place(placement, source, first, count) {
    if (!placement.place(this.#kernels, this.#base, source, first, count)) throw broken(placement, "holds numbers that are not finite");
  }
}

/** @param {Placement} placement @param {string} why */
function broken({ initializer: { name } }, why) {
  return new FeatherweightError("unsupported", `The tensor ${name} ${why}. Convert the model again.`, { tensor: name });
}
