/** Owns the running of rows of tokens through an encoder: batches of similar length, padding, and their timing. */

import { throwIfAborted } from "../errors.js";
import { overlappingParts } from "./overlapping_parts.js";
import { RunStats } from "./run_stats.js";

/**
 * @typedef {import("../backends/backend.js").EncoderSession} EncoderSession
 * @typedef {Readonly<Record<string, import("../backends/backend.js").Output>>} Outputs by name
 * @typedef {import("../text/tokenizer.js").Tokenizer} Tokenizer
 */

/**
 * @typedef {object} RunnerParts
 * @property {EncoderSession} session
 * @property {Tokenizer} tokenizer
 * @property {number} maxTokens longer texts are cut
 * @property {() => number} clock milliseconds
 * @property {() => Promise<void>} pause lets messages in, an abort among them
 */

/** The tokens of one text, or of two; `types` is 1 for those of the second. @typedef {{ids: number[], types?: number[]}} Row */

/**
 * A part of a text: its own tokens are `from` to `to` of the whole text, which stand `shift` places further left in `ids`.
 * @typedef {Row & {shift: number, from: number, to: number}} PartRow
 */

/** Texts run together, as many as come to so many tokens with their padding. */
const BATCH_TOKENS = 1024;

export class EncoderRunner {
  #parts;
  #padId;
  #marks;

  /** @param {RunnerParts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.tokenizer = parts.tokenizer;
    this.maxTokens = parts.maxTokens;
    this.stats = new RunStats(parts.session, parts.clock);
    this.#padId = parts.tokenizer.idOf(parts.tokenizer.specialTokens.pad_token ?? "") ?? 0;
    this.#marks = marksOf(parts.tokenizer);
  }

  /** The tokens of a text, cut to what the model takes. @param {string} text @returns {Row} */
  row(text) {
    return { ids: cut(this.tokenizer.encode(text), this.maxTokens, this.#marks.suffix) };
  }

  /**
   * The tokens of a text as rows that the model takes: one, or parts that overlap.
   * @param {string} text
   * @returns {{all: number[], rows: PartRow[]}} `all`: the tokens of the whole text with the tokenizer's own around them
   */
  partRows(text) {
    const all = this.tokenizer.encode(text);
    const { prefix, suffix } = this.#marks;
    const end = all.length - suffix;
    const parts = overlappingParts(end - prefix, Math.max(2, this.maxTokens - prefix - suffix));
    const rows = parts.map(({ offset, count, from, to }) => {
      const start = prefix + offset;
      const ids = [...all.slice(0, prefix), ...all.slice(start, start + count), ...all.slice(end)];
      return { ids, shift: offset, from: prefix + from, to: prefix + to };
    });
    return { all, rows };
  }

  /**
   * @template T
   * @param {readonly Row[]} rows
   * @param {AbortSignal | undefined} signal
   * @param {(outputs: Outputs, row: number, at: number) => T} read makes the result of rows[at] of its row of the batch
   * @returns {Promise<T[]>} in the order of the rows
   */
  async run(rows, signal, read) {
    const { session, pause } = this.#parts;
    const tokens = rows.reduce((sum, { ids }) => sum + ids.length, 0);
    /** @type {T[]} */
    const results = new Array(rows.length);
    await this.stats.prefill({ tokens, texts: rows.length }, async () => {
      for (const batch of batches(rows.map(({ ids }) => ids.length))) {
        await pause();
        throwIfAborted(signal);
        const width = Math.max(...batch.map((at) => rows[at].ids.length));
        const outputs = await session.encode({
          inputIds: batch.map((at) => padded(rows[at].ids, width, this.#padId)),
          attentionMask: batch.map((at) => padded(new Array(rows[at].ids.length).fill(1), width, 0)),
          tokenTypeIds: batch.map((at) => padded(rows[at].types ?? [], width, 0)),
        });
        batch.forEach((at, row) => (results[at] = read(outputs, row, at)));
      }
    });
    return results;
  }
}

/**
 * Groups texts of similar length, so that little is computed for padding.
 * @param {readonly number[]} lengths tokens per text
 * @returns {number[][]} indices, longest texts first
 */
export function batches(lengths) {
  const order = lengths.map((_, at) => at).sort((a, b) => lengths[b] - lengths[a] || a - b);
  /** @type {number[][]} */
  const groups = [];
  for (const at of order) {
    const group = groups.at(-1);
    if (group && (group.length + 1) * lengths[group[0]] <= BATCH_TOKENS) group.push(at);
    else groups.push([at]);
  }
  return groups;
}

/** The values of one token: [batch, tokens, width] at [row, token]. @param {import("../backends/backend.js").Output} output @param {number} row @param {number} token */
export function valuesAt({ data, dims }, row, token) {
  const start = (row * dims[1] + token) * dims[2];
  return data.subarray(start, start + dims[2]);
}

/** @param {Float32Array} logits */
export function softmax(logits) {
  let top = -Infinity;
  for (const logit of logits) top = Math.max(top, logit);
  const weights = logits.map((logit) => Math.exp(logit - top));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/**
 * How many tokens the tokenizer adds before a text ([CLS]) and after it ([SEP]): these stay when a text is cut.
 * @param {Tokenizer} tokenizer
 */
function marksOf(tokenizer) {
  const empty = tokenizer.encode("");
  const some = tokenizer.encode("a");
  let prefix = 0;
  while (prefix < empty.length && empty[prefix] === some[prefix]) prefix += 1;
  return { prefix, suffix: empty.length - prefix };
}

/** @param {number[]} ids @param {number} limit @param {number} suffix */
function cut(ids, limit, suffix) {
  if (ids.length <= limit) return ids;
  return [...ids.slice(0, limit - suffix), ...ids.slice(ids.length - suffix)];
}

/** @param {number[]} row @param {number} width @param {number} filler */
function padded(row, width, filler) {
  return [...row, ...new Array(width - row.length).fill(filler)];
}
