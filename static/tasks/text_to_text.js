/** Owns text-to-text generation: an encoder reads a text, a decoder writes its translation, summary or answer. */

import { FeatherweightError, throwIfAborted } from "../errors.js";
import { writeAnswer } from "./answer.js";
import { checkGenerateOptions } from "./generate_options.js";
import { RunStats } from "./run_stats.js";

/** @typedef {import("../backends/backend.js").EncoderDecoderSession} EncoderDecoderSession */

/**
 * @typedef {object} OwnParts
 * @property {EncoderDecoderSession} session
 * @property {import("./generate_options.js").GenerateOptions} defaults for what the caller leaves open
 * @property {number} startId the token that every answer starts after
 * @property {number | null} forcedFirstId what the first token of every answer is, if the model says so
 * @property {number} contextLength tokens of a text and of an answer
 * @property {() => number} clock milliseconds
 */

/** @typedef {import("./answer.js").AnswerParts & OwnParts} Parts */

export class TextToText {
  #parts;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.stats = new RunStats(parts.session, parts.clock);
  }

  /**
   * @param {string} input what the decoder answers; models want it as they were trained ("summarize: ...")
   * @param {import("./generate_options.js").GenerateOptions} options
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<import("./answer.js").Piece, void, void>}
   * @throws {FeatherweightError} unsupported, aborted, out_of_memory, device_lost
   */
  async *generate(input, options, signal) {
    const { session, tokenizer, contextLength, startId, forcedFirstId, defaults, pause } = this.#parts;
    this.stats.begin();
    throwIfAborted(signal);
    const settings = checkGenerateOptions(options, defaults);
    if (typeof input !== "string") throw new FeatherweightError("unsupported", "This model answers a text, not a conversation.");
    const ids = tokenizer.encode(input);
    if (ids.length === 0) throw new FeatherweightError("unsupported", "The text is empty.");
    if (ids.length > contextLength) {
      const message = `The text has ${ids.length} tokens, and this model reads ${contextLength}. Shorten it.`;
      throw new FeatherweightError("unsupported", message, { tokens: ids.length, context_length: contextLength });
    }
    const run = {
      settings,
      seen: [],
      maxNewTokens: Math.min(settings.maxNewTokens, contextLength),
      forced: forcedFirstId,
      first: () =>
        this.stats.prefill({ tokens: ids.length }, async () => {
          await session.start(ids);
          await pause();
          throwIfAborted(signal);
          return session.decode([startId]);
        }),
      next: (/** @type {number} */ tokenId) => session.decode([tokenId]),
    };
    yield* writeAnswer(this.#parts, this.stats, run, signal);
  }
}
