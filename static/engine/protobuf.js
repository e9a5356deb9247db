/** Owns the reading of protobuf's wire format (https://protobuf.dev/programming-guides/encoding), bounds checked. */

import { FeatherweightError } from "../errors.js";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Reads one message; `next` moves from field to field, and one of the value methods or `skip` has to follow it. */
export class MessageReader {
  /** @param {Uint8Array} bytes @param {number} [at] where the message begins @param {number} [end] */
  constructor(bytes, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.field = 0;
    this.wireType = 0;
  }

  /** @returns {boolean} false at the end of the message */
  next() {
    if (this.at >= this.end) return false;
    const key = this.#varint();
    this.field = Math.floor(key / 8);
    this.wireType = key & 7;
    return true;
  }

  /** @returns {number} a signed integer that a double holds exactly */
  integer() {
    this.#expect(0);
    const value = this.#varint();
    if (!Number.isSafeInteger(value)) throw malformed("an integer is out of range");
    return value;
  }

  /** @returns {number} */
  float() {
    this.#expect(5);
    const { buffer, byteOffset } = this.bytes;
    return new DataView(buffer, byteOffset + this.#take(4), 4).getFloat32(0, true);
  }

  /** @returns {Uint8Array} a view of the message's bytes */
  bytesValue() {
    const start = this.#takeBytes();
    return this.bytes.subarray(start, this.at);
  }

  /** @returns {string} */
  string() {
    try {
      return decoder.decode(this.bytesValue());
    } catch (error) {
      if (error instanceof FeatherweightError) throw error;
      throw malformed("a text is not UTF-8");
    }
  }

  /** @returns {MessageReader} */
  message() {
    const start = this.#takeBytes();
    return new MessageReader(this.bytes, start, this.at);
  }

  /** The values of a repeated integer field, packed or not; beyond 2^53 they are rounded. @returns {number[]} */
  integers() {
    if (this.wireType === 0) return [this.#varint()];
    const inner = this.message();
    const values = [];
    while (inner.at < inner.end) values.push(inner.#varint());
    return values;
  }

  skip() {
    if (this.wireType === 0) this.#varint();
    else if (this.wireType === 1) this.#take(8);
    else if (this.wireType === 2) this.#take(this.#varint());
    else if (this.wireType === 5) this.#take(4);
    else throw malformed(`wire type ${this.wireType} is unknown`);
  }

  /** @param {number} wireType */
  #expect(wireType) {
    if (this.wireType !== wireType) throw malformed(`field ${this.field} has wire type ${this.wireType}, not ${wireType}`);
  }

  /** @returns {number} where the bytes of this field start; they end at `at` */
  #takeBytes() {
    this.#expect(2);
    return this.#take(this.#varint());
  }

  /** @param {number} length @returns {number} where the bytes start */
  #take(length) {
    const start = this.at;
    if (length < 0 || length > this.end - start) throw malformed("it ends inside a field");
    this.at += length;
    return start;
  }

  /** @returns {number} signed 64-bit; beyond 2^53 rounded. In two halves, since big integers are slow and litter. */
  #varint() {
    let low = 0;
    let high = 0;
    for (let at = 0; at < 10; at++) {
      const byte = this.bytes[this.#take(1)];
      if (at < 4) low += (byte & 0x7f) * 2 ** (7 * at);
      else high += (byte & 0x7f) * 2 ** (7 * at - 28);
      if (byte >= 0x80) continue;
      high %= 2 ** 36;
      return (high < 2 ** 35 ? high : high - 2 ** 36) * 2 ** 28 + low;
    }
    throw malformed("a varint is too long");
  }
}

/** @param {string} why */
function malformed(why) {
  return new FeatherweightError("unsupported", `The model graph cannot be read: ${why}. Convert the model again.`);
}
