/** Owns what encoders are used for: embeddings of texts, and their classification. */

import { FeatherweightError, throwIfAborted } from "../errors.js";
import { RunStats } from "./run_stats.js";

/**
 * @typedef {import("../backends/backend.js").EncoderSession} EncoderSession
 * @typedef {Readonly<Record<string, import("../backends/backend.js").Output>>} Outputs by name
 * @typedef {import("../text/tokenizer.js").Tokenizer} Tokenizer
 * @typedef {import("../manifest/manifest.js").Pooling} Pooling
 */

/**
 * @typedef {{label: string, score: number}} Classification a label, with its probability (a head) or the cosine
 *   similarity of its embedding (labels of the caller's)
 */

/**
 * @typedef {object} Parts
 * @property {EncoderSession} session
 * @property {Tokenizer} tokenizer
 * @property {Pooling | null} pooling how hidden states become an embedding; null for a model that is not meant for it
 * @property {readonly string[] | null} labels of the classification head, if there is one
 * @property {number} maxTokens longer texts are cut
 * @property {() => number} clock milliseconds
 * @property {() => Promise<void>} pause lets messages in, an abort among them
 */

/** Texts run together, as many as come to so many tokens with their padding. */
const BATCH_TOKENS = 1024;

export class Encoder {
  #parts;
  #padId;
  #suffixLength;
  /** Embeddings of labels. @type {Map<string, Float32Array>} */
  #labelEmbeddings = new Map();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.stats = new RunStats(parts.session, parts.clock);
    this.#padId = parts.tokenizer.idOf(parts.tokenizer.specialTokens.pad_token ?? "") ?? 0;
    this.#suffixLength = suffixLength(parts.tokenizer);
  }

  /**
   * @param {readonly string[]} texts
   * @param {AbortSignal} [signal]
   * @returns {Promise<Float32Array[]>} one vector [hidden] per text
   * @throws {FeatherweightError} unsupported, aborted, out_of_memory, device_lost
   */
  async embed(texts, signal) {
    this.stats.begin();
    return this.#embed(texts, signal);
  }

  /**
   * @param {readonly string[]} texts
   * @param {{labels?: readonly string[], signal?: AbortSignal}} [options]
   * @returns {Promise<Classification[][]>} per text, the best label first
   * @throws {FeatherweightError} unsupported, aborted, out_of_memory, device_lost
   */
  async classify(texts, { labels, signal } = {}) {
    this.stats.begin();
    if (labels?.length) return this.#rank(texts, labels, signal);
    const own = this.#parts.labels;
    if (!own) {
      throw new FeatherweightError(
        "unsupported",
        "This model has no classification head: pass { labels: [...] } and it ranks them by similarity.",
      );
    }
    const rows = await this.#run(texts, signal, ({ logits: { data, dims } }, row) => {
      return softmax(data.subarray(row * dims[1], (row + 1) * dims[1]));
    });
    return rows.map((scores) => sortedByScore(own, Array.from(scores)));
  }

  /**
   * @param {readonly string[]} texts
   * @param {readonly string[]} labels
   * @param {AbortSignal} [signal]
   */
  async #rank(texts, labels, signal) {
    const fresh = [...new Set(labels)].filter((label) => !this.#labelEmbeddings.has(label));
    const embedded = await this.#embed(fresh, signal);
    fresh.forEach((label, at) => this.#labelEmbeddings.set(label, embedded[at]));
    const vectors = await this.#embed(texts, signal);
    return vectors.map((vector) => {
      const scores = labels.map((label) => cosine(vector, /** @type {Float32Array} */ (this.#labelEmbeddings.get(label))));
      return sortedByScore(labels, scores);
    });
  }

  /**
   * @param {readonly string[]} texts
   * @param {AbortSignal} [signal]
   */
  async #embed(texts, signal) {
    const { pooling } = this.#parts;
    if (!pooling) {
      throw new FeatherweightError("unsupported", "This model makes no embeddings: its manifest names no pooling.");
    }
    return this.#run(texts, signal, ({ last_hidden_state: { data, dims } }, row, length) => {
      const [, tokens, hidden] = dims;
      const states = data.subarray(row * tokens * hidden, (row + 1) * tokens * hidden);
      const vector = pooling.mode === "cls" ? states.slice(0, hidden) : mean(states, length, hidden);
      return pooling.normalize ? normalize(vector) : vector;
    });
  }

  /**
   * Runs texts in batches of similar length.
   * @param {readonly string[]} texts
   * @param {AbortSignal | undefined} signal
   * @param {(outputs: Outputs, row: number, length: number) => Float32Array} read
   *   makes a text's result of its row of the batch; `length`: its tokens
   * @returns {Promise<Float32Array[]>} in the order of the texts
   */
  async #run(texts, signal, read) {
    const { session, tokenizer, maxTokens, pause } = this.#parts;
    const rows = texts.map((text) => cut(tokenizer.encode(text), maxTokens, this.#suffixLength));
    const tokens = rows.reduce((sum, row) => sum + row.length, 0);
    /** @type {Float32Array[]} */
    const results = new Array(texts.length);
    await this.stats.prefill({ tokens }, async () => {
      for (const batch of batches(rows.map((row) => row.length))) {
        await pause();
        throwIfAborted(signal);
        const width = Math.max(...batch.map((at) => rows[at].length));
        const outputs = await session.encode({
          inputIds: batch.map((at) => padded(rows[at], width, this.#padId)),
          attentionMask: batch.map((at) => padded(new Array(rows[at].length).fill(1), width, 0)),
        });
        batch.forEach((at, row) => (results[at] = read(outputs, row, rows[at].length)));
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

/**
 * How many tokens the tokenizer adds after a text ([SEP]): these stay when a text is cut.
 * @param {Tokenizer} tokenizer
 */
function suffixLength(tokenizer) {
  const empty = tokenizer.encode("");
  const some = tokenizer.encode("a");
  let prefix = 0;
  while (prefix < empty.length && empty[prefix] === some[prefix]) prefix += 1;
  return empty.length - prefix;
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

/**
 * @param {Float32Array} states [tokens, hidden]
 * @param {number} length the tokens that are not padding
 * @param {number} hidden
 */
function mean(states, length, hidden) {
  const vector = new Float32Array(hidden);
  for (let token = 0; token < length; token += 1) {
    for (let at = 0; at < hidden; at += 1) vector[at] += states[token * hidden + at];
  }
  return vector.map((value) => value / length);
}

/** @param {Float32Array} vector */
function normalize(vector) {
  const norm = Math.max(Math.hypot(...vector), 1e-12);
  return vector.map((value) => value / norm);
}

/** @param {Float32Array} logits */
function softmax(logits) {
  const top = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - top));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** @param {Float32Array} a @param {Float32Array} b */
function cosine(a, b) {
  let dot = 0;
  for (let at = 0; at < a.length; at += 1) dot += a[at] * b[at];
  return dot / Math.max(Math.hypot(...a) * Math.hypot(...b), 1e-12);
}

/** @param {readonly string[]} labels @param {number[]} scores @returns {Classification[]} */
function sortedByScore(labels, scores) {
  return labels.map((label, at) => ({ label, score: scores[at] })).sort((a, b) => b.score - a.score);
}
