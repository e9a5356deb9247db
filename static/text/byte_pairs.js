/** Owns byte-pair encoding over flat tables, as a model of @huggingface/tokenizers. */

import { Model } from "../vendor/huggingface/tokenizers.mjs";

/** @typedef {import("./token_table.js").TokenTable} TokenTable */
/** @typedef {import("./merge_table.js").MergeTable} MergeTable */

/** Words whose tokens are remembered, and how long they may be. */
const KNOWN_WORDS = 4096;
const KNOWN_LENGTH = 64;
/** Ranks and places share a number in the queue. */
const PLACES = 2 ** 30;

export class BytePairs extends Model {
  #tokens;
  #merges;
  #ignoresMerges;
  #bytesInstead;
  /** @type {Map<string, readonly string[]>} */
  #known = new Map();

  /**
   * @param {any} config tokenizer.json's "model", without its vocabulary and its merges
   * @param {TokenTable} tokens
   * @param {MergeTable} merges
   */
  constructor(config, tokens, merges) {
    super(config);
    this.#tokens = tokens;
    this.#merges = merges;
    this.#ignoresMerges = config.ignore_merges ?? false;
    this.#bytesInstead = config.byte_fallback ?? false;
    this.tokens_to_ids = /** @type {any} */ (tokens);
    this.vocab = tokens.texts();
    this.unk_token = config.unk_token;
    this.unk_token_id = tokens.get(config.unk_token ?? "");
  }

  /** @param {string[]} words @returns {string[]} tokens */
  encode(words) {
    return words.flatMap((word) => {
      const known = this.#known.get(word);
      if (known) return known;
      const found = this.#encodeWord(word);
      if (word.length > KNOWN_LENGTH) return found;
      if (this.#known.size === KNOWN_WORDS) this.#known.clear();
      this.#known.set(word, found);
      return found;
    });
  }

  /** @param {string} word @returns {string[]} */
  #encodeWord(word) {
    if (this.#ignoresMerges && this.#tokens.has(word)) return [word];
    const chars = Array.from(word);
    const ids = mergePairs(chars.map((char) => this.#tokens.get(char) ?? -1), this.#merges);
    return ids.flatMap((id, at) => (id >= 0 ? (this.#tokens.textOf(id) ?? []) : id === MERGED ? [] : this.#unknown(chars[at])));
  }

  /** @param {string} char @returns {string[]} */
  #unknown(char) {
    const unknown = this.unk_token == null ? [] : [this.unk_token];
    if (!this.#bytesInstead) return unknown;
    const bytes = [...new TextEncoder().encode(char)].map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    return bytes.every((byte) => this.#tokens.has(byte)) ? bytes : unknown;
  }
}

/** What stands where a token was that has become part of one before it. */
const MERGED = -2;

/**
 * Merges neighbours, the lowest rank first, of equal ones the first.
 * @param {number[]} ids of the characters, -1 for what is no token; changed
 * @param {MergeTable} merges
 * @returns {number[]} the same array: each token where its first character was, MERGED elsewhere
 */
function mergePairs(ids, merges) {
  const queue = new Queue();
  const next = ids.map((_, at) => at + 1);
  const before = ids.map((_, at) => at - 1);
  /** @param {number} at */
  const rankAt = (at) => (ids[at] < 0 || next[at] >= ids.length || ids[next[at]] < 0 ? -1 : merges.rankOf(ids[at], ids[next[at]]));
  /** @param {number} at */
  const consider = (at) => {
    const rank = rankAt(at);
    if (rank >= 0) queue.push(rank * PLACES + at);
  };
  for (let at = 0; at + 1 < ids.length; at++) consider(at);
  for (let lowest = queue.pop(); lowest !== undefined; lowest = queue.pop()) {
    const at = lowest % PLACES;
    const rank = (lowest - at) / PLACES;
    if (rankAt(at) !== rank) continue; // one of the two has become part of another since
    const gone = next[at];
    ids[at] = merges.results[rank];
    ids[gone] = MERGED;
    next[at] = next[gone];
    if (next[at] < ids.length) before[next[at]] = at;
    if (before[at] >= 0) consider(before[at]);
    consider(at);
  }
  return ids;
}

/** A binary heap: the least number comes first. */
class Queue {
  /** @type {number[]} */
  #heap = [];

  /** @param {number} value */
  push(value) {
    const heap = this.#heap;
    let at = heap.push(value) - 1;
    for (let parent = (at - 1) >> 1; at > 0 && heap[parent] > value; at = parent, parent = (at - 1) >> 1) heap[at] = heap[parent];
    heap[at] = value;
  }

  /** @returns {number | undefined} */
  pop() {
    const heap = this.#heap;
    const least = heap[0];
    const value = heap.pop();
    if (value === undefined || heap.length === 0) return least;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
      if (heap[child] >= value) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = value;
    return least;
  }
}
