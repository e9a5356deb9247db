/** Owns where every weight goes: offsets in the weight region, and for each initializer how its rows are placed there. */

import { cannotLower } from "./graph.js";
import { FLOAT16 } from "./onnx_model.js";
import { AFFINE } from "./plan_format.js";

/**
 * @typedef {import("./onnx_model.js").Initializer} Initializer
 * @typedef {import("./passes/form_linear.js").LinearWeight} LinearWeight
 * @typedef {import("./kernels.js").Kernels} Kernels
 */

/**
 * How to place some rows of an initializer, which lie at `source` in the kernels' memory; false when they are not finite.
 * @typedef {object} Placement
 * @property {Initializer} initializer
 * @property {number} rows
 * @property {(kernels: Kernels, base: number, source: number, first: number, count: number) => boolean} place
 */

const ALIGNMENT = 64;

/** Collects reservations while the graph is lowered; offsets are relative to the start of the weights. */
export class WeightLayout {
  /** @param {Kernels} kernels for the sizes of blocks */
  constructor(kernels) {
    this.kernels = kernels;
    this.bytes = 0;
    /** @type {Placement[]} */
    this.placements = [];
    /** Tables that were computed, not downloaded. @type {{offset: number, values: Float32Array}[]} */
    this.literals = [];
    /** @type {Map<string, number>} */
    this.known = new Map();
    /** @type {Map<Initializer, number>} */
    this.inner = new Map();
  }

  /** @param {number} bytes @returns {number} offset */
  reserve(bytes) {
    const offset = this.bytes;
    this.bytes += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    return offset;
  }

  /** Several matrices side by side, packed for the kernels. @param {LinearWeight[]} weights @returns {number} offset */
  matrix(weights) {
    return this.#once(`matrix ${weights.map((weight) => this.#identity(weight)).join(" | ")}`, () =>
      weights[0].kind === "nbits" ? this.#nbits(weights) : this.#floats(weights),
    );
  }

  /** A float table [columns, inner] as it is. @param {LinearWeight} weight @returns {number} offset */
  table(weight) {
    return this.#once(`table ${this.#identity(weight)}`, () => {
      const offset = this.reserve(4 * weight.columns * weight.inner);
      let at = offset;
      for (const part of weight.values) {
        this.#copy(part, at);
        at += 4 * part.dims[0] * weight.inner;
      }
      return offset;
    });
  }

  /** A float vector. @param {Initializer} initializer @returns {number} offset */
  vector(initializer) {
    return this.#once(`vector ${this.#name(initializer)}`, () => {
      const offset = this.reserve(4 * initializer.dims.reduce((product, size) => product * size, 1));
      this.#copy(initializer, offset);
      return offset;
    });
  }

  /** Rows of a float matrix [rows, width], chosen one by one, as columns [width][chosen]. @param {Initializer} initializer @param {readonly number[]} chosen @returns {number} offset */
  chosenRows(initializer, chosen) {
    const width = initializer.dims[1];
    return this.#once(`rows ${this.#name(initializer)} ${chosen}`, () => {
      const offset = this.reserve(4 * chosen.length * width);
      this.#floatRows(initializer, 1, ({ memory }, base, source, first, count) => {
        const rows = new Float32Array(memory.bytes().slice(source, source + 4 * count * width).buffer);
        const columns = memory.floats(base + offset, chosen.length * width);
        for (const [at, row] of chosen.entries()) {
          if (row < first || row >= first + count) continue;
          for (let column = 0; column < width; column++) columns[column * chosen.length + at] = rows[(row - first) * width + column];
        }
        return Number(rows.every(Number.isFinite));
      });
      return offset;
    });
  }

  /**
   * Bias vectors side by side; absent ones are 0.
   * @param {{bias: Initializer | null, columns: number}[]} parts
   * @returns {number} offset
   */
  biases(parts) {
    const offset = this.reserve(4 * parts.reduce((sum, { columns }) => sum + columns, 0));
    let at = offset;
    for (const { bias, columns } of parts) {
      if (bias) this.#copy(bias, at);
      at += 4 * columns;
    }
    return offset;
  }

  /** A table that was computed. @param {Float32Array} values @returns {number} offset */
  literal(values) {
    const offset = this.reserve(values.byteLength);
    this.literals.push({ offset, values });
    return offset;
  }

  /** @param {string} key @param {() => number} reserve */
  #once(key, reserve) {
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const offset = reserve();
    this.known.set(key, offset);
    return offset;
  }

  /** @param {LinearWeight[]} weights */
  #nbits(weights) {
    const [{ bits, inner }] = weights;
    const affine = affineOf(weights[0]);
    const blocks = Math.ceil(inner / 32);
    const columns = weights.reduce((sum, weight) => sum + weight.columns, 0);
    const offset = this.reserve(Math.ceil(columns / 8) * blocks * this.kernels.fw_packed_block_bytes(bits, affine));
    let column = 0;
    for (const weight of weights) {
      const sourceBlocks = Math.ceil(inner / weight.blockSize);
      const repeat = weight.blockSize / 32;
      for (const part of weight.values) {
        const start = column;
        this.#place(part, part.dims[0], (kernels, base, source, first, count) => {
          kernels.fw_repack_codes(source, sourceBlocks * repeat, count, start + first, base + offset, blocks, bits, affine);
          return true;
        });
        column += part.dims[0];
      }
      const start = column - weight.columns;
      for (const [isOffset, values] of [weight.scales, weight.offsets].entries()) {
        if (!values) continue;
        this.#place(values, weight.columns, (kernels, base, source, first, count) =>
          Boolean(kernels.fw_repack_scales(source, sourceBlocks, repeat, count, start + first, base + offset, blocks, bits, affine, isOffset)),
        );
      }
      if (!weight.zeroPoints) continue;
      this.#place(weight.zeroPoints, weight.columns, (kernels, base, source, first, count) => {
        kernels.fw_repack_zero_points(source, sourceBlocks, repeat, count, start + first, base + offset, blocks, bits);
        return true;
      });
    }
    return offset;
  }

  /**
   * Floats become blocks of 16 bits. Rows of a transposed weight come 32 at a time where they can, which is a block.
   * @param {LinearWeight[]} weights
   */
  #floats(weights) {
    const [{ inner }] = weights;
    const blocks = Math.ceil(inner / 32);
    const total = weights.reduce((sum, weight) => sum + weight.columns, 0);
    const offset = this.reserve(Math.ceil(total / 8) * blocks * this.kernels.fw_packed_block_bytes(16, 0));
    let column = 0;
    for (const { columns, transposed, values } of weights) {
      let done = 0;
      for (const part of values) {
        const start = column;
        const before = done;
        const unit = !transposed ? 1 : part.dims[0] % 32 === 0 ? 32 : part.dims[0];
        this.#floatRows(part, unit, (kernels, base, source, first, count) => {
          const target = [base + offset, blocks];
          if (transposed) return kernels.fw_repack_floats(source, 1, columns, columns, start, count, before + first, ...target);
          return kernels.fw_repack_floats(source, inner, 1, count, start + before + first, inner, 0, ...target);
        });
        done += part.dims[0];
      }
      column += columns;
    }
    return offset;
  }

  /** Copy floats, widened where they are halves. @param {Initializer} initializer @param {number} offset */
  #copy(initializer, offset) {
    const width = initializer.dims.slice(1).reduce((product, size) => product * size, 1);
    this.#floatRows(initializer, 1, ({ memory }, base, source, first, count) => {
      memory.bytes().copyWithin(base + offset + 4 * first * width, source, source + 4 * count * width);
      return 1;
    });
  }

  /**
   * @param {Initializer} initializer
   * @param {number} unit rows that are placed together, a divisor of all
   * @param {(kernels: Kernels, base: number, source: number, first: number, count: number) => number} place gets float32
   */
  #floatRows(initializer, unit, place) {
    const rows = initializer.dims[0] ?? 1;
    const width = initializer.dims.slice(1).reduce((product, size) => product * size, 1);
    this.#place(initializer, rows / unit, (kernels, base, source, first, count) => {
      if (initializer.dataType !== FLOAT16) return Boolean(place(kernels, base, source, first * unit, count * unit));
      const wide = kernels.memory.reserveScratch(4 * count * unit * width);
      kernels.fw_widen_f16(source, wide, count * unit * width);
      return Boolean(place(kernels, base, wide, first * unit, count * unit));
    });
  }

  /** All that decides how a weight is placed: only what is the same in every respect may share a place. @param {LinearWeight} weight */
  #identity({ kind, columns, inner, transposed, bits, blockSize, values, scales, offsets, zeroPoints }) {
    const names = [...values, scales, offsets, zeroPoints].map((initializer) => initializer && this.#name(initializer));
    return [kind, columns, inner, transposed, bits, blockSize, ...names].join(" ");
  }

  /** The same for tensors of the same bytes: graphs may name the same part of a file, and use one name for two tensors. @param {Initializer} initializer */
  #name(initializer) {
    const { external, dataType, dims } = initializer;
    if (external) return JSON.stringify([external.location, external.offset, dataType, dims]);
    const known = this.inner.get(initializer) ?? this.inner.size;
    this.inner.set(initializer, known);
    return `#${known}`;
  }

  /** @param {Initializer} initializer @param {number} rows @param {Placement["place"]} place */
  #place(initializer, rows, place) {
    if (initializer.byteLength % rows !== 0) {
      throw cannotLower({ name: initializer.name, opType: "initializer" }, `its bytes are no ${rows} rows`);
    }
    this.placements.push({ initializer, rows, place });
  }
}

/** @param {LinearWeight} weight @returns {number} one of AFFINE */
export function affineOf({ offsets, zeroPoints }) {
  return offsets ? AFFINE.OFFSETS : zeroPoints ? AFFINE.ZERO_POINTS : AFFINE.SYMMETRIC;
}
