/** Owns the finding of answers: which part of a text answers a question. */

import { FeatherweightError } from "../errors.js";
import { tokenSpans } from "../text/token_spans.js";
import { EncoderRunner, softmax } from "./encoder_runner.js";
import { overlappingParts } from "./overlapping_parts.js";

/**
 * `start` and `end` are where the answer stands in the context, null where that is not known. `score` is the probability
 * of its first token times that of its last.
 * @typedef {{answer: string, score: number, start: number | null, end: number | null}} Answer
 */

/** Tokens of an answer, at most. */
const ANSWER_TOKENS = 15;

export class QuestionAnswering {
  #runner;

  /** @param {import("./encoder_runner.js").RunnerParts} parts */
  constructor(parts) {
    this.#runner = new EncoderRunner(parts);
    this.stats = this.#runner.stats;
  }

  /**
   * A context longer than the model takes is read in parts that overlap by half.
   * @param {string} question
   * @param {string} context
   * @param {{topK?: number, signal?: AbortSignal}} [options]
   * @returns {Promise<Answer[]>} at most `topK` (1), the best first; no two of the same place
   * @throws {FeatherweightError} unsupported, aborted, out_of_memory, device_lost
   */
  async answer(question, context, { topK = 1, signal } = {}) {
    this.stats.begin();
    const { tokenizer } = this.#runner;
    const ids = tokenizer.encode(context, { addSpecialTokens: false });
    if (ids.length === 0) return [];
    const parts = this.#parts(question, context, ids);
    const spans = tokenSpans(context, ids, tokenizer);
    const found = await this.#runner.run(parts, signal, (outputs, row, at) => bestSpans(outputs, row, parts[at], topK));
    /** @type {Map<string, {first: number, last: number, score: number}>} */
    const byPlace = new Map();
    for (const span of found.flat()) {
      const place = `${span.first}-${span.last}`;
      if ((byPlace.get(place)?.score ?? -1) < span.score) byPlace.set(place, span);
    }
    const best = [...byPlace.values()].sort((a, b) => b.score - a.score).slice(0, topK);
    return best.map(({ first, last, score }) => {
      const start = spans[first]?.[0] ?? null;
      const end = spans[last]?.[1] ?? null;
      if (start === null || end === null) return { answer: tokenizer.decode(ids.slice(first, last + 1)).trim(), score, start: null, end: null };
      return { answer: context.slice(start, end), score, start, end };
    });
  }

  /**
   * The question with the context, or with parts of it.
   * @param {string} question
   * @param {string} context
   * @param {readonly number[]} ids of the context
   * @returns {Part[]}
   */
  #parts(question, context, ids) {
    const pair = this.#runner.tokenizer.encodePair(question, context);
    const start = lastIndexOf(pair.ids, ids);
    const around = pair.ids.length - ids.length;
    const room = this.#runner.maxTokens - around;
    if (start < 0 || room < 2) {
      const limit = this.#runner.maxTokens;
      throw new FeatherweightError("unsupported", `The question leaves no room for a text in the ${limit} tokens that this model reads. Shorten it.`, {
        context_length: limit,
      });
    }
    return overlappingParts(ids.length, room).map(({ offset, count }) => {
      /** @param {number[]} values */
      const cut = (values) => [
        ...values.slice(0, start),
        ...values.slice(start + offset, start + offset + count),
        ...values.slice(start + ids.length),
      ];
      return { ids: cut(pair.ids), types: cut(pair.types), start, count, offset };
    });
  }
}

/** A row whose tokens from `start` on are `count` of the context, from its `offset` on. @typedef {{ids: number[], types: number[], start: number, count: number, offset: number}} Part */

/**
 * @param {import("./encoder_runner.js").Outputs} outputs
 * @param {number} row
 * @param {Part} part
 * @param {number} topK
 * @returns {{first: number, last: number, score: number}[]} tokens of the context, the best first
 */
function bestSpans({ start_logits: starts, end_logits: ends }, row, { start, count, offset }, topK) {
  const [first, last] = [starts, ends].map(({ data, dims }) => {
    const from = row * dims[1];
    // The first token stands for "no answer": it takes its share of the probability.
    return softmax(Float32Array.of(data[from], ...data.subarray(from + start, from + start + count))).subarray(1);
  });
  const spans = [];
  for (let at = 0; at < count; at += 1) {
    for (let to = at; to < Math.min(count, at + ANSWER_TOKENS); to += 1) {
      spans.push({ first: offset + at, last: offset + to, score: first[at] * last[to] });
    }
  }
  return spans.sort((a, b) => b.score - a.score).slice(0, topK);
}

/** Where `part` stands in `whole` for the last time, or -1. @param {readonly number[]} whole @param {readonly number[]} part */
function lastIndexOf(whole, part) {
  for (let start = whole.length - part.length; start >= 0; start -= 1) {
    if (part.every((id, at) => whole[start + at] === id)) return start;
  }
  return -1;
}
