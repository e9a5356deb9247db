/** Owns the generating of text: prompts, the reuse of the KV cache between them, and answers over it. */

import { FeatherweightError, throwIfAborted } from "../errors.js";
import { writeAnswer } from "./answer.js";
import { checkGenerateOptions } from "./generate_options.js";
import { RunStats } from "./run_stats.js";

/**
 * @typedef {import("../backends/backend.js").DecoderSession} DecoderSession
 * @typedef {import("../text/tokenizer.js").Tokenizer} Tokenizer
 * @typedef {import("../text/chat_template.js").ChatTemplate} ChatTemplate
 * @typedef {import("../text/chat_template.js").Message} Message
 * @typedef {import("./generate_options.js").GenerateOptions} GenerateOptions
 */

/**
 * @typedef {object} Parts
 * @property {DecoderSession} session
 * @property {Tokenizer} tokenizer
 * @property {ChatTemplate | null} chatTemplate
 * @property {ReadonlySet<number>} endIds tokens that end an answer
 * @property {GenerateOptions} defaults for what the caller leaves open
 * @property {number} contextLength tokens that the KV cache may hold
 * @property {number} vocabSize
 * @property {() => number} clock milliseconds
 * @property {() => Promise<void>} pause lets messages in, an abort among them
 */

/** Tokens run at once: a long prompt can be stopped between two such parts, and needs memory for one. */
const PREFILL_STEP = 128;

export class TextGeneration {
  #parts;
  /** The tokens in the KV cache. @type {number[]} */
  #cached = [];
  /** Where the logits of an answer's tokens go, one after the other. @type {Float32Array | undefined} */
  #logits;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.stats = new RunStats(parts.session, parts.clock);
  }

  /**
   * @param {string | readonly Message[]} input
   * @param {GenerateOptions} options
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<import("./answer.js").Piece, void, void>}
   * @throws {FeatherweightError} unsupported, aborted, out_of_memory, device_lost
   */
  async *generate(input, options, signal) {
    const { contextLength } = this.#parts;
    this.stats.begin();
    throwIfAborted(signal);
    const settings = checkGenerateOptions(options, this.#parts.defaults);
    const prompt = this.#encodePrompt(input);
    const maxNewTokens = Math.min(settings.maxNewTokens, contextLength - prompt.length + 1);
    const run = {
      settings,
      seen: prompt,
      maxNewTokens,
      first: () => this.#fill(prompt, signal),
      next: async (/** @type {number} */ tokenId) => (this.#logits = await this.#run([tokenId], this.#logits)),
    };
    yield* writeAnswer(this.#parts, this.stats, run, signal);
  }

  /**
   * @param {readonly number[]} tokenIds
   * @param {AbortSignal} [signal]
   * @param {Float32Array} [into] may be filled and returned instead of a new array
   * @returns {Promise<Float32Array>} logits [vocab] of the last one
   */
  async prefill(tokenIds, signal, into) {
    this.stats.begin();
    this.#checkTokens(tokenIds);
    return this.stats.prefill({ tokens: tokenIds.length }, () => this.#runInSteps(tokenIds, signal, into));
  }

  /**
   * @param {number} tokenId
   * @param {Float32Array} [into]
   * @returns {Promise<Float32Array>} logits [vocab]
   */
  async decode(tokenId, into) {
    this.#checkTokens([tokenId]);
    const logits = await this.#run([tokenId], into);
    this.stats.token();
    return logits;
  }

  async reset() {
    this.#cached = [];
    await this.#parts.session.reset();
  }

  /** @param {string | readonly Message[]} input */
  #encodePrompt(input) {
    const { tokenizer, chatTemplate, contextLength } = this.#parts;
    let ids;
    if (typeof input === "string") {
      ids = tokenizer.encode(input);
    } else if (!chatTemplate) {
      throw new FeatherweightError("unsupported", "This model has no chat template: give it a text, not messages.");
    } else {
      ids = tokenizer.encode(chatTemplate.render([...input]), { addSpecialTokens: false });
    }
    if (ids.length === 0) throw new FeatherweightError("unsupported", "The prompt is empty.");
    if (ids.length > contextLength) throw tooLong(ids.length, contextLength);
    return ids;
  }

  /**
   * Brings the cache to exactly these tokens, running only those after the ones that it shares with them.
   * @param {readonly number[]} ids
   * @param {AbortSignal} [signal]
   */
  async #fill(ids, signal) {
    let shared = 0;
    // The last token runs in any case: its logits are what is asked for.
    while (shared < ids.length - 1 && this.#cached[shared] === ids[shared]) shared += 1;
    await this.#parts.session.truncate(shared);
    this.#cached.length = Math.min(this.#cached.length, shared);
    return this.stats.prefill({ tokens: ids.length, cached: shared }, () => this.#runInSteps(ids.slice(shared), signal));
  }

  /**
   * @param {readonly number[]} ids
   * @param {AbortSignal} [signal]
   * @param {Float32Array} [into]
   */
  async #runInSteps(ids, signal, into) {
    let logits = into;
    for (let start = 0; start < ids.length; start += PREFILL_STEP) {
      await this.#parts.pause();
      throwIfAborted(signal);
      logits = await this.#run(ids.slice(start, start + PREFILL_STEP), logits);
    }
    return /** @type {Float32Array} */ (logits);
  }

  /** @param {readonly number[]} ids @param {Float32Array} [into] */
  async #run(ids, into) {
    const logits = await this.#parts.session.prefill(ids, into);
    this.#cached.push(...ids);
    return logits;
  }

  /** @param {readonly number[]} ids */
  #checkTokens(ids) {
    const { vocabSize, contextLength } = this.#parts;
    if (ids.length === 0) throw new FeatherweightError("unsupported", "There are no tokens to run.");
    const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
    if (wrong !== undefined) {
      throw new FeatherweightError("unsupported", `${wrong} is no token of this model: they go from 0 to ${vocabSize - 1}.`);
    }
    const total = this.#cached.length + ids.length;
    if (total > contextLength) throw tooLong(total, contextLength);
  }
}

/** @param {number} tokens @param {number} contextLength */
function tooLong(tokens, contextLength) {
  return new FeatherweightError(
    "unsupported",
    `The conversation has ${tokens} tokens, and this model was loaded with room for ${contextLength}. Shorten it, or start anew.`,
    { tokens, context_length: contextLength },
  );
}
