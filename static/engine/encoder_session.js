/** Owns encoding on the engine: sequences are packed into runs without their padding, which is never computed. */

import { FeatherweightError } from "../errors.js";
import { alignedSlots, rowsOf } from "./plan.js";
import { ROWS } from "./plan_format.js";

/**
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {import("./plan.js").Segment} Segment
 * @typedef {import("../backends/backend.js").Batch} Batch
 * @typedef {import("../backends/backend.js").Output} Output
 * @typedef {import("../backends/backend.js").EncoderSession} EncoderSession
 */

/** A sequence of a batch without its padding. @typedef {{sequence: number, segment: Segment}} Packed */

/** @implements {EncoderSession} */
export class EngineEncoderSession {
  /** @type {"encoder"} */
  kind = "encoder";
  backend = "wasm";

  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
  }

  /** As many as are in use now. */
  get threads() {
    return this.engine.choice.count;
  }

  /**
   * Rows of padding are 0; a sequence of padding alone gives zeros.
   * @param {Batch} batch
   * @returns {Promise<Record<string, Output>>}
   */
  async encode(batch) {
    this.#check(batch);
    const { plan, choice } = this.engine;
    const { outputs, types, pad } = plan.model;
    const [sequences, tokens] = [batch.inputIds.length, batch.inputIds[0].length];
    const made = outputs.map(({ value: { rowsKind, width, squeezed } }) => {
      const rows = rowsKind === ROWS.ALL ? [sequences, tokens] : [sequences];
      const dims = squeezed ? rows : [...rows, width];
      return { data: new Float32Array(dims.reduce((product, size) => product * size, 1)), dims };
    });
    for (const run of packRuns(batch, plan.maxRows, { typed: Number.isFinite(types), pad, first: outputs.some(({ value }) => value.rowsKind === ROWS.FIRST) })) {
      const segments = run.map(({ segment }) => segment);
      const found = choice.timed(() => plan.run(segments, false), rowsOf(segments));
      for (const [at, { value }] of outputs.entries()) scatter(found[at], value, run, tokens, made[at].data);
    }
    return Object.fromEntries(outputs.map(({ name }, at) => [name, made[at]]));
  }

  memoryBytes() {
    return this.engine.plan.kernels.memory.memory.buffer.byteLength;
  }

  async dispose() {
    this.engine.pool.stop();
  }

  /** @param {Batch} batch */
  #check({ inputIds, attentionMask, tokenTypeIds }) {
    const { plan, contextLength } = this.engine;
    const tokens = inputIds[0]?.length ?? 0;
    if (inputIds.length === 0 || tokens === 0) throw new RangeError("encode needs at least one token");
    const { vocabulary, types } = plan.model;
    /** @param {readonly (readonly number[])[]} rows @param {number} limit */
    const holds = (rows, limit) => rows.every((row) => row.length === tokens && row.every((id) => Number.isInteger(id) && id >= 0 && id < limit));
    if (!holds(inputIds, vocabulary)) throw new RangeError(`rows have one length and hold integers from 0 to ${vocabulary - 1}`);
    if (attentionMask.length !== inputIds.length || !attentionMask.every((row) => row.length === tokens)) {
      throw new RangeError("the attention mask has another shape than the ids");
    }
    if (tokenTypeIds && (tokenTypeIds.length !== inputIds.length || !holds(tokenTypeIds, types))) {
      throw new RangeError(`the segments of tokens have the shape of the ids and hold integers from 0 to ${types - 1}`);
    }
    if (tokens > contextLength) {
      throw new FeatherweightError("unsupported", `${tokens} tokens are more than the model's ${contextLength}. Cut the text.`, { tokens, contextLength });
    }
  }
}

/**
 * Put the rows of a run where its sequences have them.
 * @param {Float32Array} rows
 * @param {{rowsKind: number, width: number}} value
 * @param {readonly Packed[]} run
 * @param {number} tokens of a sequence with its padding
 * @param {Float32Array} data
 */
function scatter(rows, { rowsKind, width }, run, tokens, data) {
  let row = 0;
  for (const { sequence, segment } of run) {
    const seen = segment.positions.slice(0, segment.positions.length - (segment.unseen ?? 0));
    const targets = rowsKind === ROWS.ALL ? seen.map((position) => sequence * tokens + position) : [sequence];
    for (const [at, target] of targets.entries()) data.set(rows.subarray((row + at) * width, (row + at + 1) * width), target * width);
    row += rowsKind === ROWS.ALL ? segment.positions.length : 1;
  }
}

/**
 * Fill runs of at most maxRows tokens with whole sequences.
 * @param {Batch} batch
 * @param {number} maxRows
 * @param {{typed: boolean, pad: number | null, first: boolean}} wants whether the model tells segments apart, what its
 *   positions skip, and whether it reads first tokens, which then are there even as padding
 * @returns {Packed[][]}
 */
function packRuns({ inputIds, attentionMask, tokenTypeIds }, maxRows, { typed, pad, first }) {
  /** @type {Packed[][]} */
  const runs = [];
  let rows = Infinity;
  let slot = 0;
  for (const [sequence, mask] of attentionMask.entries()) {
    const positions = [...mask.keys()].filter((position) => mask[position]);
    if (positions.length === 0) continue;
    const unseen = first && positions[0] !== 0 ? 1 : 0;
    if (unseen) positions.push(0);
    if (rows + positions.length > maxRows) {
      runs.push([]);
      rows = 0;
      slot = 0;
    }
    /** @param {readonly number[]} row */
    const kept = (row) => positions.map((position) => row[position]);
    const ids = inputIds[sequence];
    const types = typed ? positions.map((position) => tokenTypeIds?.[sequence][position] ?? 0) : undefined;
    const counted = pad === null ? undefined : kept(countTokens(ids, pad));
    runs[runs.length - 1].push({ sequence, segment: { ids: kept(ids), positions, types, counted, slot, past: 0, unseen, first: unseen && positions.length - 1 } });
    rows += positions.length;
    slot += alignedSlots(positions.length);
  }
  return runs;
}

/** Positions from pad + 1 on, of the tokens that are not `pad`; pad has its own. @param {readonly number[]} ids @param {number} pad */
function countTokens(ids, pad) {
  let count = 0;
  return ids.map((id) => (id === pad ? pad : pad + ++count));
}
