/** Owns the reading of protobuf's wire format (https://protobuf.dev/programming-guides/encoding), bounds checked. */

import { FeatherweightError } from "../errors.js";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Reads one message; `next` moves from field to field, and one of the value methods or `skip` has to follow it. */
export class MessageReader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
    this.field = 0;
    this.wireType = 0;
  }

  /** @returns {boolean} false at the end of the message */
  next() {
    if (this.at >= this.bytes.length) return false;
    const key = this.#varint();
    this.field = Number(key >> 3n);
    this.wireType = Number(key & 7n);
    return true;
  }

  /** @returns {bigint} signed 64-bit */
  int64() {
    this.#expect(0);
    return BigInt.asIntN(64, this.#varint());
  }

  /** @returns {number} a signed integer that a double holds exactly */
  integer() {
    const value = Number(this.int64());
    if (!Number.isSafeInteger(value)) throw malformed("an integer is out of range");
    return value;
  }

  /** @returns {number} */
  float() {
    this.#expect(5);
    return this.view.getFloat32(this.#take(4), true);
  }

  /** @returns {Uint8Array} a view of the message's bytes */
  bytesValue() {
    this.#expect(2);
    const length = Number(this.#varint());
    const start = this.#take(length);
    return this.bytes.subarray(start, start + length);
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
    return new MessageReader(this.bytesValue());
  }

  /** The values of a repeated integer field, packed or not. @returns {bigint[]} */
  int64s() {
    if (this.wireType === 0) return [this.int64()];
    const inner = this.message();
    const values = [];
    while (inner.at < inner.bytes.length) values.push(BigInt.asIntN(64, inner.#varint()));
    return values;
  }

  skip() {
    if (this.wireType === 0) this.#varint();
    else if (this.wireType === 1) this.#take(8);
    else if (this.wireType === 2) this.#take(Number(this.#varint()));
    else if (this.wireType === 5) this.#take(4);
    else throw malformed(`wire type ${this.wireType} is unknown`);
  }

  /** @param {number} wireType */
  #expect(wireType) {
    if (this.wireType !== wireType) throw malformed(`field ${this.field} has wire type ${this.wireType}, not ${wireType}`);
  }

  /** @param {number} length @returns {number} where the bytes start */
  #take(length) {
    const start = this.at;
    if (length > this.bytes.length - start) throw malformed("it ends inside a field");
    this.at += length;
    return start;
  }

  /** @returns {bigint} unsigned 64-bit */
  #varint() {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.#take(1)];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed("a varint is too long");
  }
}

/** @param {string} why */
function malformed(why) {
  return new FeatherweightError("unsupported", `The model graph cannot be read: ${why}. Convert the model again.`);
}
