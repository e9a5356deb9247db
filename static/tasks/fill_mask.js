/** Owns the filling of gaps: which words fit where a text has a mask. */

import { FeatherweightError } from "../errors.js";
import { EncoderRunner, softmax, valuesAt } from "./encoder_runner.js";

/** A word for the mask, its probability, and the text with it. @typedef {{token: string, tokenId: number, score: number, text: string}} Filling */

export class FillMask {
  #runner;
  #maskToken;
  #maskId;

  /** @param {import("./encoder_runner.js").RunnerParts} parts */
  constructor(parts) {
    this.#runner = new EncoderRunner(parts);
    this.stats = this.#runner.stats;
    this.#maskToken = parts.tokenizer.specialTokens.mask_token ?? "[MASK]";
    this.#maskId = parts.tokenizer.idOf(this.#maskToken);
  }

  /**
   * @param {readonly string[]} texts each with one mask, such as "[MASK]"
   * @param {{topK?: number, signal?: AbortSignal}} [options] `topK`: 5 by default
   * @returns {Promise<Filling[][]>} per text, the best first
   * @throws {FeatherweightError} unsupported, aborted, out_of_memory, device_lost
   */
  async fillMask(texts, { topK = 5, signal } = {}) {
    this.stats.begin();
    const { tokenizer } = this.#runner;
    const rows = texts.map((text) => this.#runner.row(text));
    const places = rows.map(({ ids }) => this.#placeOf(ids));
    return this.#runner.run(rows, signal, ({ logits }, row, at) => {
      const scores = softmax(valuesAt(logits, row, places[at]));
      const best = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]).slice(0, topK);
      return best.map((tokenId) => ({
        token: tokenizer.decode([tokenId], { skipSpecialTokens: false }).trim(),
        tokenId,
        score: scores[tokenId],
        text: tokenizer.decode(rows[at].ids.with(places[at], tokenId)).trim(),
      }));
    });
  }

  /** @param {readonly number[]} ids */
  #placeOf(ids) {
    const count = ids.filter((id) => id === this.#maskId).length;
    if (count === 1) return ids.indexOf(/** @type {number} */ (this.#maskId));
    const message = `A text to fill has ${count} of ${this.#maskToken} in what this model reads of it, expected one.`;
    throw new FeatherweightError("unsupported", message, { mask: this.#maskToken, count });
  }
}
