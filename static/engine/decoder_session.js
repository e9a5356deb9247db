/** Owns one conversation on the engine: tokens in, logits of the last one out, the KV cache between. */

import { FeatherweightError } from "../errors.js";

/**
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {import("../backends/backend.js").DecoderSession} DecoderSession
 */

/** @implements {DecoderSession} */
export class EngineDecoderSession {
  /** @type {"decoder"} */
  kind = "decoder";
  backend = "wasm";
  length = 0;

  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
  }

  /** As many as are in use now. */
  get threads() {
    return this.engine.choice.count;
  }

  /** @param {readonly number[]} tokenIds @param {Float32Array} [into] @returns {Promise<Float32Array>} */
  async prefill(tokenIds, into) {
    const { plan, choice, contextLength } = this.engine;
    const { vocabulary } = plan.model;
    if (tokenIds.length === 0) throw new RangeError("prefill needs at least one token");
    if (!tokenIds.every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary)) {
      throw new RangeError(`token ids are integers from 0 to ${vocabulary - 1}`);
    }
    if (this.length + tokenIds.length > contextLength) {
      throw new FeatherweightError(
        "unsupported",
        `${this.length} tokens and ${tokenIds.length} more do not fit a context of ${contextLength}. Start a new conversation or ask for a longer context.`,
        { length: this.length, added: tokenIds.length, contextLength },
      );
    }
    // All of it or nothing: without room for the whole the cache stays as it is.
    plan.reserveSlots(this.length + tokenIds.length);
    /** @type {Float32Array} */
    let logits = new Float32Array(0);
    for (let first = 0; first < tokenIds.length; first += plan.maxRows) {
      const ids = tokenIds.slice(first, first + plan.maxRows);
      const positions = ids.map((_, at) => this.length + at);
      const last = first + ids.length === tokenIds.length;
      const run = () => plan.run([{ ids, positions, slot: 0, past: this.length }], last);
      // The tokens of an answer are compared whatever their context; a part of a prompt may take twice as long behind a long one.
      const [output] = ids.length === 1 ? choice.timed(run) : choice.timed(run, ids.length, this.length + ids.length);
      if (last) {
        logits = into?.length === output.length ? into : new Float32Array(output.length);
        logits.set(output);
      }
      this.length += ids.length;
    }
    return logits;
  }

  /** @param {number} tokenId */
  async decode(tokenId) {
    return this.prefill([tokenId]);
  }

  /** @param {number} length */
  async truncate(length) {
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new RangeError(`the cache holds ${this.length} tokens and cannot be cut to ${length}`);
    }
    this.length = length;
  }

  async reset() {
    this.length = 0;
  }

  memoryBytes() {
    return this.engine.plan.kernels.memory.memory.buffer.byteLength;
  }

  async dispose() {
    this.engine.pool.stop();
  }
}
