/** Owns the cutting of a byte stream into chunks, in one buffer that is reused for every chunk. */
import { chunkLength } from "./chunks.js";

/**
 * Takes the pieces of a response in order and hands out the wanted chunks. It keeps what it has of a chunk when the
 * stream breaks: the next stream continues from `position`, or is skipped up to there.
 */
export class ChunkAssembler {
  #sizeBytes;
  #chunkSize;
  #buffer;
  /** @type {(index: number) => boolean} */
  #wants;
  /** Chunk being filled; `#end` when all are done. */
  #index = 0;
  #end = 0;
  /** File offset of the next byte of the stream. */
  #streamOffset = 0;

  /** Bytes of the current chunk that are here; they are not verified yet. */
  filledBytes = 0;

  /** @param {number} sizeBytes of the file @param {number} chunkSize @param {Uint8Array} [buffer] for one chunk */
  constructor(sizeBytes, chunkSize, buffer = new Uint8Array(Math.min(chunkSize, sizeBytes))) {
    this.#sizeBytes = sizeBytes;
    this.#chunkSize = chunkSize;
    this.#buffer = buffer;
    this.#wants = () => false;
  }

  /**
   * Sets what is wanted: the chunks of [first, end) for which `wants` is true at the moment they begin. What is here
   * of the current chunk stays if it is the first one wanted.
   * @param {number} first
   * @param {number} end
   * @param {(index: number) => boolean} wants
   */
  want(first, end, wants) {
    const partial = this.filledBytes > 0 ? this.#index : -1;
    const kept = this.filledBytes;
    this.#wants = wants;
    this.#end = end;
    this.#startAt(first);
    if (this.#index === partial) this.filledBytes = kept;
  }

  /** Whether a wanted chunk is still incomplete. */
  get wantsMore() {
    return this.#index < this.#end;
  }

  /** File offset of the first byte that is needed next. */
  get position() {
    return this.#index * this.#chunkSize + this.filledBytes;
  }

  /** File offset after the last byte that can be wanted. */
  get endPosition() {
    return Math.min(this.#end * this.#chunkSize, this.#sizeBytes);
  }

  /** Says where in the file the next pushed piece begins. @param {number} offset at most `position` */
  seek(offset) {
    this.#streamOffset = offset;
  }

  /**
   * Yields each chunk that this piece completes. `bytes` is the reused buffer: it is valid until the next step of the
   * iteration.
   * @param {Uint8Array} piece
   * @returns {Generator<{index: number, bytes: Uint8Array}>}
   */
  *push(piece) {
    let at = 0;
    while (this.wantsMore) {
      // Skips what lies before the needed byte: chunks that are here already, or a whole file sent instead of a range.
      at += Math.min(piece.length - at, Math.max(0, this.position - this.#streamOffset - at));
      if (at === piece.length) break;
      const length = chunkLength(this.#sizeBytes, this.#chunkSize, this.#index);
      const taken = piece.subarray(at, at + length - this.filledBytes);
      this.#buffer.set(taken, this.filledBytes);
      this.filledBytes += taken.length;
      at += taken.length;
      if (this.filledBytes < length) break;
      yield { index: this.#index, bytes: this.#buffer.subarray(0, length) };
      this.#startAt(this.#index + 1);
    }
    this.#streamOffset += piece.length;
  }

  /** @param {number} index */
  #startAt(index) {
    while (index < this.#end && !this.#wants(index)) index++;
    this.#index = index;
    this.filledBytes = 0;
  }
}
