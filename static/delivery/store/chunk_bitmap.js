/**
 * Owns the record of which chunks of a file are present, in memory and as bytes.
 *
 * Bytes, little-endian:   0 u32 magic "FWCB"   4 u32 version 1   8 u32 chunk size   12 u32 zero   16 u64 file size
 *                        24 bitmap, chunk i is bit i % 8 of byte i / 8
 */
import { chunkCount, chunkLength } from "../chunks.js";

const MAGIC = 0x42435746;
const VERSION = 1;
const HEADER_BYTES = 24;

export class ChunkBitmap {
  #bits;

  /** @param {number} sizeBytes of the file @param {number} chunkSize @param {Uint8Array} [bits] */
  constructor(sizeBytes, chunkSize, bits) {
    this.sizeBytes = sizeBytes;
    this.chunkSize = chunkSize;
    this.count = chunkCount(sizeBytes, chunkSize);
    this.#bits = bits ?? new Uint8Array(Math.ceil(this.count / 8));
  }

  /** @param {Uint8Array} bytes @returns {ChunkBitmap | null} null when the bytes are not a whole record */
  static decode(bytes) {
    if (bytes.length < HEADER_BYTES) return null;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== VERSION) return null;
    const chunkSize = view.getUint32(8, true);
    const sizeBytes = Number(view.getBigUint64(16, true));
    const bitBytes = Math.ceil(chunkCount(sizeBytes, chunkSize) / 8);
    if (chunkSize === 0 || bytes.length !== HEADER_BYTES + bitBytes) return null;
    return new ChunkBitmap(sizeBytes, chunkSize, bytes.slice(HEADER_BYTES));
  }

  encode() {
    const bytes = new Uint8Array(HEADER_BYTES + this.#bits.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, VERSION, true);
    view.setUint32(8, this.chunkSize, true);
    view.setBigUint64(16, BigInt(this.sizeBytes), true);
    bytes.set(this.#bits, HEADER_BYTES);
    return bytes;
  }

  /**
   * The encoded byte that holds chunk `index`, and where it lies.
   * @param {number} index
   * @returns {{at: number, byte: Uint8Array}}
   */
  encodedByte(index) {
    const position = index >> 3;
    return { at: HEADER_BYTES + position, byte: this.#bits.subarray(position, position + 1) };
  }

  /** @param {number} index */
  has(index) {
    return (this.#bits[index >> 3] & (1 << (index & 7))) !== 0;
  }

  /** @param {number} index @param {boolean} present */
  set(index, present) {
    const mask = 1 << (index & 7);
    if (present) this.#bits[index >> 3] |= mask;
    else this.#bits[index >> 3] &= ~mask;
  }

  /**
   * Forgets the chunks that do not lie within the first `dataBytes` bytes: the data is shorter than the record says.
   * @param {number} dataBytes
   */
  clip(dataBytes) {
    for (let index = 0; index < this.count; index++) {
      const end = index * this.chunkSize + chunkLength(this.sizeBytes, this.chunkSize, index);
      if (end > dataBytes) this.set(index, false);
    }
  }

  /** @returns {import("./store.js").FileStatus} */
  status() {
    const missing = [];
    let presentBytes = 0;
    for (let index = 0; index < this.count; index++) {
      if (this.has(index)) presentBytes += chunkLength(this.sizeBytes, this.chunkSize, index);
      else missing.push(index);
    }
    return { presentBytes, complete: missing.length === 0, missing };
  }
}
