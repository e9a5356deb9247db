/** Owns answering a text on the engine: the encoder reads it once, and leaves in the cache what the decoder sees of it. */

import { FeatherweightError } from "../errors.js";
import { alignedSlots } from "./plan.js";

/**
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {import("../backends/backend.js").EncoderDecoderSession} EncoderDecoderSession
 */

/** @implements {EncoderDecoderSession} */
export class EngineEncoderDecoderSession {
  /** @type {"encoder-decoder"} */
  kind = "encoder-decoder";
  backend = "wasm";
  /** Tokens of the text. */
  #text = 0;
  /** Tokens of the answer. */
  #length = 0;

  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
  }

  /** As many as are in use now. */
  get threads() {
    return this.engine.choice.count;
  }

  /** @param {readonly number[]} tokenIds */
  async start(tokenIds) {
    this.#check(tokenIds, 0);
    const { plan, choice } = this.engine;
    this.#text = 0;
    this.#length = 0;
    const segment = { ids: tokenIds, positions: [...tokenIds.keys()], slot: 0, past: 0 };
    choice.timed(() => plan.run([segment], false, { end: plan.model.answer }), tokenIds.length);
    this.#text = tokenIds.length;
  }

  /** One token after the other: an answer never gets several at once but to begin with. @param {readonly number[]} tokenIds @returns {Promise<Float32Array>} */
  async decode(tokenIds) {
    this.#check(tokenIds, this.#length);
    if (this.#text === 0) throw new RangeError("an answer needs a text; start with one");
    const { plan, choice } = this.engine;
    const text = this.#text;
    const slot = alignedSlots(text);
    let logits = new Float32Array(0);
    for (const id of tokenIds) {
      const segment = { ids: [id], positions: [this.#length], slot, past: this.#length, text };
      const [output] = choice.timed(() => plan.run([segment], true, { begin: plan.model.answer }));
      logits = new Float32Array(output);
      this.#length++;
    }
    return logits;
  }

  memoryBytes() {
    return this.engine.plan.kernels.memory.memory.buffer.byteLength;
  }

  async dispose() {
    this.engine.pool.stop();
  }

  /** @param {readonly number[]} tokenIds @param {number} length tokens before them */
  #check(tokenIds, length) {
    const { plan, contextLength } = this.engine;
    const { vocabulary } = plan.model;
    if (tokenIds.length === 0) throw new RangeError("there is no token");
    if (!tokenIds.every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary)) {
      throw new RangeError(`token ids are integers from 0 to ${vocabulary - 1}`);
    }
    if (length + tokenIds.length > contextLength) {
      throw new FeatherweightError(
        "unsupported",
        `${length + tokenIds.length} tokens are more than the ${contextLength} of this model's texts and answers. Shorten the text or the answer.`,
        { length, added: tokenIds.length, contextLength },
      );
    }
  }
}
