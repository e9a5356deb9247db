/** Owns what encoders of whole texts are used for: embeddings of texts, and their classification. */

import { FeatherweightError } from "../errors.js";
import { EncoderRunner, softmax } from "./encoder_runner.js";

/**
 * @typedef {import("../manifest/manifest.js").Pooling} Pooling
 */

/**
 * @typedef {{label: string, score: number}} Classification a label, with its probability (a head) or the cosine
 *   similarity of its embedding (labels of the caller's)
 */

/**
 * @typedef {object} OwnParts
 * @property {Pooling | null} pooling how hidden states become an embedding; null for a model that is not meant for it
 * @property {readonly string[] | null} labels of the classification head, if there is one
 */

/** @typedef {import("./encoder_runner.js").RunnerParts & OwnParts} Parts */

export class Encoder {
  #parts;
  #runner;
  /** Embeddings of labels. @type {Map<string, Float32Array>} */
  #labelEmbeddings = new Map();

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#runner = new EncoderRunner(parts);
    this.stats = this.#runner.stats;
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
    const rows = texts.map((text) => this.#runner.row(text));
    const probabilities = await this.#runner.run(rows, signal, ({ logits: { data, dims } }, row) => {
      const own = data.subarray(row * dims[1], (row + 1) * dims[1]);
      // One logit alone is a degree, as rankers give it.
      return own.length === 1 ? own.map((logit) => 1 / (1 + Math.exp(-logit))) : softmax(own);
    });
    return probabilities.map((scores) => sortedByScore(own, Array.from(scores)));
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
    const rows = texts.map((text) => this.#runner.row(text));
    return this.#runner.run(rows, signal, ({ last_hidden_state: { data, dims } }, row, at) => {
      const [, tokens, hidden] = dims;
      const states = data.subarray(row * tokens * hidden, (row + 1) * tokens * hidden);
      const vector = pooling.mode === "cls" ? states.slice(0, hidden) : mean(states, rows[at].ids.length, hidden);
      return pooling.normalize ? normalize(vector) : vector;
    });
  }
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
