/** Owns a lowered model in the kernels' memory: the step list, the tables of rows, the pages of the KV cache. */

import { lifetimesOf, planArena } from "./arena.js";
import { FLOAT_FIELDS, OP, PAGE_TOKENS, PARTIAL_EXTRA, PLAN, PROGRESS_BYTES, ROWS, SLOT_ALIGNMENT, STEP_FIELDS, TILE_ROWS, TILE_WORDS } from "./plan_format.js";

/**
 * @typedef {import("./kernels.js").Kernels} Kernels
 * @typedef {import("./lower_model.js").LoweredModel} LoweredModel
 * @typedef {import("./lowering/context.js").Address} Address
 */

/**
 * A run of one sequence: tokens at consecutive slots after those that are in the cache already.
 * @typedef {object} Segment
 * @property {readonly number[]} ids
 * @property {readonly number[]} positions
 * @property {readonly number[]} [types] segments of a model that tells them apart
 * @property {readonly number[]} [counted] positions of a model that does not count padding
 * @property {number} slot of the first token of the sequence, a multiple of SLOT_ALIGNMENT
 * @property {number} past tokens of the sequence in the cache
 * @property {number} [unseen] tokens at the end whose keys no row sees
 * @property {number} [text] tokens of the text that a sequence of an encoder-decoder answers, which are in the cache
 * @property {number} [first] row of the first token, which classifiers read; 0 unless it is unseen
 */

export class Plan {
  /**
   * @param {Kernels} kernels
   * @param {LoweredModel} model
   * @param {{weights: number, maxRows: number, maxSlots: number}} layout weights is their address
   */
  constructor(kernels, model, { weights, maxRows, maxSlots }) {
    this.kernels = kernels;
    this.model = model;
    this.maxRows = maxRows;
    this.maxPages = Math.ceil(maxSlots / PAGE_TOKENS);
    this.pages = 0;
    const { memory } = kernels;
    const count = model.steps.length;
    this.address = memory.allocate(4 * PLAN.WORDS);
    this.tables = {
      ids: memory.allocate(4 * maxRows),
      positions: memory.allocate(4 * maxRows),
      types: memory.allocate(4 * maxRows),
      counted: memory.allocate(4 * maxRows),
      slots: memory.allocate(4 * maxRows),
      lastRows: memory.allocate(4 * maxRows),
      firstRows: memory.allocate(4 * maxRows),
      pages: memory.allocate(4 * this.maxPages),
      tiles: memory.allocate(4 * TILE_WORDS * maxRows),
    };
    const steps = memory.allocate(4 * STEP_FIELDS.length * count);
    this.#set(PLAN.THREADS, 1);
    this.#set(PLAN.STEPS, steps);
    this.#set(PLAN.PROGRESS, memory.allocate(PROGRESS_BYTES * count));
    this.#set(PLAN.POSITIONS, this.tables.positions);
    this.#set(PLAN.SLOTS, this.tables.slots);
    this.#set(PLAN.PAGES, this.tables.pages);
    this.#set(PLAN.TILES, this.tables.tiles);
    this.outputAddresses = this.#writeSteps(steps, weights);
    this.pageBytes = model.cache.pageBytes;
    const attention = model.steps.filter(({ op }) => op === OP.ATTEND);
    this.#reservePartials(attention, model.kind === "encoder" ? maxRows : maxSlots);
  }

  /** A word of the plan, through a view of its own: what is allocated may move memory that no threads share. @param {number} word @param {number} value */
  #set(word, value) {
    this.kernels.memory.words(this.address, PLAN.WORDS)[word] = value;
  }

  /**
   * Room for one tile over ranges of keys (fw_attend_ranges): decoding cuts a long context among the threads.
   * @param {readonly import("./lowering/context.js").Step[]} attention
   * @param {number} maxKeys that a row sees
   */
  #reservePartials(attention, maxKeys) {
    const perRow = Math.max(...attention.map(({ heads, kvHeads, headDim }) => (Number(heads) / Number(kvHeads)) * (Number(headDim) + PARTIAL_EXTRA)));
    const kvHeads = Math.max(...attention.map((step) => Number(step.kvHeads)));
    const floats = Math.ceil(maxKeys / PAGE_TOKENS) * TILE_ROWS * perRow;
    const { memory } = this.kernels;
    this.#set(PLAN.PARTIAL_FLOATS, floats);
    this.#set(PLAN.PARTIALS, memory.allocate(4 * kvHeads * floats));
    this.#set(PLAN.ARRIVALS, memory.allocate(4 * kvHeads));
  }

  /** Have as much of the cache as goes into memory that is there already. @param {number} address @param {number} bytes */
  takePages(address, bytes) {
    const count = Math.min(this.maxPages - this.pages, Math.floor(bytes / this.pageBytes));
    const pages = Array.from({ length: count }, (_, at) => address + at * this.pageBytes);
    this.kernels.memory.words(this.tables.pages, this.maxPages).set(pages, this.pages);
    this.pages += count;
  }

  /** Make room in the cache for slots below `count`. @param {number} count */
  reserveSlots(count) {
    const needed = Math.ceil(count / PAGE_TOKENS);
    if (needed > this.maxPages) throw new RangeError(`slot ${count} is beyond ${this.maxPages} pages`);
    for (; this.pages < needed; this.pages++) {
      const page = this.kernels.memory.allocate(this.pageBytes);
      this.kernels.memory.words(this.tables.pages, this.maxPages)[this.pages] = page;
    }
  }

  /**
   * Run the steps over some sequences, at most maxRows tokens together.
   * @param {readonly Segment[]} segments none of them empty; ids and positions are within the model's tables
   * @param {boolean} wantsLast whether the rows behind the last token are computed (logits)
   * @param {{begin?: number, end?: number}} [part] some of the steps; all by default
   * @returns {Float32Array[]} views of the outputs, good until the next run; none when it ends before them
   */
  run(segments, wantsLast, { begin = 0, end = this.model.steps.length } = {}) {
    const rows = rowsOf(segments);
    if (rows > this.maxRows) throw new RangeError(`${rows} rows are more than ${this.maxRows}`);
    for (const { slot, past, ids } of segments) this.reserveSlots(slot + past + ids.length);
    const { memory } = this.kernels;
    const table = (/** @type {number} */ address) => memory.words(address, this.maxRows);
    const ids = table(this.tables.ids);
    const positions = table(this.tables.positions);
    const types = table(this.tables.types);
    const counted = table(this.tables.counted);
    const slots = table(this.tables.slots);
    const firstRows = table(this.tables.firstRows);
    let row = 0;
    for (const [at, segment] of segments.entries()) {
      firstRows[at] = row + (segment.first ?? 0);
      ids.set(segment.ids, row);
      positions.set(segment.positions, row);
      if (segment.types) types.set(segment.types, row);
      if (segment.counted) counted.set(segment.counted, row);
      for (let token = 0; token < segment.ids.length; token++) slots[row + token] = segment.slot + segment.past + token;
      row += segment.ids.length;
    }
    table(this.tables.lastRows)[0] = rows - 1;
    const words = memory.words(this.address, PLAN.WORDS);
    words[PLAN.ROWS + ROWS.ALL] = rows;
    words[PLAN.ROWS + ROWS.LAST] = wantsLast ? 1 : 0;
    words[PLAN.ROWS + ROWS.FIRST] = segments.length;
    words[PLAN.TILE_COUNT] = this.#writeTiles(segments);
    this.kernels.fw_plan_run(this.address, begin, end);
    if (end < this.model.steps.length) return [];
    return this.model.outputs.map(({ value: { rowsKind, width } }, at) =>
      memory.floats(this.outputAddresses[at], width * [rows, 1, segments.length][rowsKind]),
    );
  }

  /** The steps behind `begin` up to that by which they have multiplied by about so many weights. @param {number} weights @param {number} begin */
  stepsOf(weights, begin) {
    const { steps } = this.model;
    let end = begin;
    for (let sum = 0; end < steps.length && sum < weights; end++) sum += Number(steps[end].columns ?? 0) * Number(steps[end].width ?? 0);
    return end;
  }

  /** @param {readonly Segment[]} segments @returns {number} how many */
  #writeTiles(segments) {
    const tiles = this.kernels.memory.words(this.tables.tiles, TILE_WORDS * this.maxRows);
    let count = 0;
    let row = 0;
    for (const { ids, slot, past, unseen = 0, text = 0 } of segments) {
      const causal = this.model.kind === "decoder" || text > 0;
      for (let first = 0; first < ids.length; first += TILE_ROWS) {
        const rows = Math.min(TILE_ROWS, ids.length - first);
        const keys = past + (causal ? first + rows : ids.length - unseen);
        tiles.set([row + first, rows, slot, keys, past + first, text], TILE_WORDS * count++);
      }
      row += ids.length;
    }
    return count;
  }

  /** @param {number} address @param {number} weights @returns {number[]} addresses of the outputs */
  #writeSteps(address, weights) {
    const { memory } = this.kernels;
    const { steps, buffers, outputs } = this.model;
    const rows = [this.maxRows, 1, this.maxRows];
    const sizes = buffers.map(({ bytesPerRow, rowsKind, single }) => bytesPerRow * (single ? 1 : rows[rowsKind]));
    const { offsets, bytes } = planArena(lifetimesOf(steps, sizes, outputs.map(({ value }) => value.buffer)));
    const arena = memory.allocate(bytes);
    /** @param {Address} place */
    const resolve = (place) => {
      if ("buffer" in place) return arena + offsets[place.buffer] + place.offset;
      return "weight" in place ? weights + place.weight : this.tables[place.rows];
    };
    for (const [at, step] of steps.entries()) {
      const start = address + 4 * STEP_FIELDS.length * at;
      const words = memory.words(start, STEP_FIELDS.length);
      for (const [field, value] of Object.entries(step)) {
        const word = STEP_FIELDS.indexOf(field);
        if (typeof value !== "number") words[word] = resolve(value);
        else if (FLOAT_FIELDS.includes(field)) memory.floats(start, STEP_FIELDS.length)[word] = value;
        else words[word] = value;
      }
    }
    return outputs.map(({ value }) => resolve({ buffer: value.buffer, offset: value.offset }));
  }
}

/** How many tokens a run of these sequences is over. @param {readonly Segment[]} segments */
export function rowsOf(segments) {
  return segments.reduce((sum, { ids }) => sum + ids.length, 0);
}

/** Slots that a sequence takes when others follow it. @param {number} tokens */
export function alignedSlots(tokens) {
  return Math.ceil(tokens / SLOT_ALIGNMENT) * SLOT_ALIGNMENT;
}
