/**
 * Owns a vocabulary in flat tables: the texts of all tokens one after the other as UTF-8, and a hash table over them. It
 * takes a quarter of what a Map and an Array of as many strings take, and none of the garbage of their making.
 */

/** Ids are below it: the tables have room for each. */
const MOST_IDS = 1 << 22;

export class TokenTable {
  /** The first byte belongs to no token, so that no token ends at 0. */
  #text;
  /** @type {Uint32Array} by id */
  #begins;
  /** By id; 0 for ids without a token. @type {Uint32Array} */
  #ends;
  /** Open addressing: id + 1, or 0 for a free slot. @type {Uint32Array} */
  #slots;
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #encoder = new TextEncoder();
  #scratch = new Uint8Array(256);
  /** Tokens that were set one by one. @type {Map<string, number>} */
  #added = new Map();
  /** @type {Map<number, string>} */
  #addedTexts = new Map();

  /** @param {{bytes: number, ids: number, tokens: number}} sizes of all texts, above all ids, and how many tokens */
  constructor({ bytes, ids, tokens }) {
    this.#text = new Uint8Array(bytes + 1);
    this.#begins = new Uint32Array(ids);
    this.#ends = new Uint32Array(ids);
    this.#slots = new Uint32Array(tableSize(tokens));
  }

  /**
   * Reads an object of tokens and ids.
   * @param {import("./json_cursor.js").JsonCursor} cursor at the object
   * @returns {TokenTable | null} null where two tokens have one id, or ids are beyond all vocabularies
   * @throws {SyntaxError}
   */
  static read(cursor) {
    const start = cursor.at;
    const sizes = { bytes: 0, ids: 0, tokens: 0 };
    for (const id of idsOf(cursor)) {
      sizes.bytes += cursor.stringEnd - cursor.stringStart;
      sizes.ids = Math.max(sizes.ids, id + 1);
      sizes.tokens++;
    }
    if (sizes.ids > MOST_IDS) return null;
    const table = new TokenTable(sizes);
    const end = cursor.at;
    cursor.at = start;
    let free = 1;
    for (const id of idsOf(cursor)) {
      if (table.#ends[id] !== 0) return null;
      free = table.#insert(id, cursor, free);
    }
    cursor.at = end;
    return table;
  }

  /** @param {string} token @returns {number | undefined} */
  get(token) {
    const added = this.#added.get(token);
    if (added !== undefined) return added;
    if (3 * token.length > this.#scratch.length) this.#scratch = new Uint8Array(3 * token.length);
    const { written } = this.#encoder.encodeInto(token, this.#scratch);
    const id = this.find(this.#scratch, 0, written);
    return id < 0 ? undefined : id;
  }

  /** @param {string} token */
  has(token) {
    return this.get(token) !== undefined;
  }

  /** @param {string} token @param {number} id */
  set(token, id) {
    this.#added.set(token, id);
    this.#addedTexts.set(id, token);
  }

  /** @param {number} id @returns {string | undefined} */
  textOf(id) {
    const added = this.#addedTexts.get(id);
    if (added !== undefined || !this.#ends[id]) return added;
    return this.#decoder.decode(this.#text.subarray(this.#begins[id], this.#ends[id]));
  }

  /** The texts as an array by id, made while it is read. @returns {string[]} */
  texts() {
    /** @type {ProxyHandler<string[]>} */
    const handler = { get: (_, key) => (typeof key === "string" ? this.textOf(Number(key)) : undefined) };
    return new Proxy([], handler);
  }

  /** The token whose text these bytes are. @param {Uint8Array} bytes @param {number} begin @param {number} end @returns {number} -1 if there is none */
  find(bytes, begin, end) {
    return this.#slots[this.#slotOf(bytes, begin, end)] - 1;
  }

  /**
   * The token whose text is that of two others together.
   * @param {number} left
   * @param {number} right
   * @returns {number} -1 if there is none
   */
  findJoined(left, right) {
    const length = this.#ends[left] - this.#begins[left];
    const total = length + this.#ends[right] - this.#begins[right];
    if (total > this.#scratch.length) this.#scratch = new Uint8Array(2 * total);
    this.#scratch.set(this.#text.subarray(this.#begins[left], this.#ends[left]));
    this.#scratch.set(this.#text.subarray(this.#begins[right], this.#ends[right]), length);
    return this.find(this.#scratch, 0, total);
  }

  /** @param {number} id @param {import("./json_cursor.js").JsonCursor} cursor past the token @param {number} free @returns {number} */
  #insert(id, cursor, free) {
    const bytes = cursor.escaped ? this.#encoder.encode(cursor.text()) : cursor.bytes.subarray(cursor.stringStart, cursor.stringEnd);
    this.#text.set(bytes, free);
    this.#begins[id] = free;
    this.#ends[id] = free + bytes.length;
    this.#slots[this.#slotOf(this.#text, free, free + bytes.length)] = id + 1;
    return free + bytes.length;
  }

  /** The slot of this text, or the free one where it would be. @param {Uint8Array} bytes @param {number} begin @param {number} end */
  #slotOf(bytes, begin, end) {
    const mask = this.#slots.length - 1;
    let slot = hashOf(bytes, begin, end) & mask;
    while (this.#slots[slot] !== 0 && !this.#equals(this.#slots[slot] - 1, bytes, begin, end)) slot = (slot + 1) & mask;
    return slot;
  }

  /** @param {number} id @param {Uint8Array} bytes @param {number} begin @param {number} end */
  #equals(id, bytes, begin, end) {
    const start = this.#begins[id];
    if (this.#ends[id] - start !== end - begin) return false;
    for (let at = begin; at < end; at++) if (this.#text[start + at - begin] !== bytes[at]) return false;
    return true;
  }
}

/** Slots of a hash table for so many entries, at most two thirds of them in use. @param {number} entries @returns {number} a power of two */
export function tableSize(entries) {
  return 2 ** Math.ceil(Math.log2(1.5 * entries + 1));
}

/** @param {import("./json_cursor.js").JsonCursor} cursor at an object; at each id, its key is the string passed last @returns {Generator<number, void, void>} */
function* idsOf(cursor) {
  cursor.expect("{");
  if (cursor.accept("}")) return;
  do {
    cursor.string();
    cursor.expect(":");
    yield cursor.count();
  } while (cursor.accept(","));
  cursor.expect("}");
}

/** FNV-1a, 32 bits (Fowler, Noll, Vo). @param {Uint8Array} bytes @param {number} begin @param {number} end */
function hashOf(bytes, begin, end) {
  let hash = 0x811c9dc5;
  for (let at = begin; at < end; at++) hash = Math.imul(hash ^ bytes[at], 0x01000193);
  return hash ^ (hash >>> 15);
}
