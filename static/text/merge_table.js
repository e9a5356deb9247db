/** Owns the merges of a byte-pair encoding in flat tables: from two tokens to the rank of their merge and to what they become. */

import { tableSize } from "./token_table.js";

const SPACE = 32;

/** @typedef {import("./json_cursor.js").JsonCursor} JsonCursor */
/** @typedef {import("./token_table.js").TokenTable} TokenTable */

export class MergeTable {
  /** By rank. */
  #lefts;
  #rights;
  /** What the two become, by rank. */
  results;
  /** Open addressing: rank + 1, or 0 for a free slot. */
  #slots;

  /** @param {number} count */
  constructor(count) {
    this.#lefts = new Uint32Array(count);
    this.#rights = new Uint32Array(count);
    this.results = new Uint32Array(count);
    this.#slots = new Uint32Array(tableSize(count));
  }

  /**
   * Reads a list of merges, each a pair of tokens or a text with a space between them.
   * @param {JsonCursor} cursor at the list
   * @param {TokenTable} tokens
   * @returns {MergeTable | null} null where one is not about tokens of the vocabulary
   * @throws {SyntaxError}
   */
  static read(cursor, tokens) {
    const start = cursor.at;
    let count = 0;
    for (const _ of mergesOf(cursor, tokens)) count++;
    const end = cursor.at;
    cursor.at = start;
    const table = new MergeTable(count);
    let rank = 0;
    for (const [left, right] of mergesOf(cursor, tokens)) {
      const result = left < 0 || right < 0 ? -1 : tokens.findJoined(left, right);
      if (result < 0) return null;
      table.#lefts[rank] = left;
      table.#rights[rank] = right;
      table.results[rank] = result;
      table.#slots[table.#slotOf(left, right)] = ++rank;
    }
    cursor.at = end;
    return table;
  }

  /** @param {number} left @param {number} right @returns {number} the lower the sooner; -1 where they do not merge */
  rankOf(left, right) {
    return this.#slots[this.#slotOf(left, right)] - 1;
  }

  /** @param {number} left @param {number} right */
  #slotOf(left, right) {
    const mask = this.#slots.length - 1;
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0xc2b2ae35);
    let slot = (hash ^ (hash >>> 13)) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const rank = this.#slots[slot] - 1;
      if (this.#lefts[rank] === left && this.#rights[rank] === right) break;
    }
    return slot;
  }
}

/**
 * @param {JsonCursor} cursor at a list
 * @param {TokenTable} tokens
 * @returns {Generator<[left: number, right: number], void, void>} ids, -1 for what is no token
 */
function* mergesOf(cursor, tokens) {
  cursor.expect("[");
  if (cursor.accept("]")) return;
  do {
    if (cursor.accept("[")) {
      const left = passToken(cursor, tokens);
      cursor.expect(",");
      const right = passToken(cursor, tokens);
      cursor.expect("]");
      yield [left, right];
    } else {
      cursor.string();
      const bytes = contentOf(cursor);
      const space = bytes.indexOf(SPACE);
      yield [tokens.find(bytes, 0, Math.max(0, space)), tokens.find(bytes, space + 1, bytes.length)];
    }
  } while (cursor.accept(","));
  cursor.expect("]");
}

/** @param {JsonCursor} cursor @param {TokenTable} tokens */
function passToken(cursor, tokens) {
  cursor.string();
  if (!cursor.escaped) return tokens.find(cursor.bytes, cursor.stringStart, cursor.stringEnd);
  const bytes = contentOf(cursor);
  return tokens.find(bytes, 0, bytes.length);
}

/** @param {JsonCursor} cursor past a string */
function contentOf(cursor) {
  return cursor.escaped ? new TextEncoder().encode(cursor.text()) : cursor.bytes.subarray(cursor.stringStart, cursor.stringEnd);
}
