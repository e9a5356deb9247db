/** Owns the store of last resort: chunks in this worker's memory, gone with it. */
import { ChunkBitmap } from "./chunk_bitmap.js";

/** @typedef {import("./store.js").Content} Content */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./store.js").StoredFile} StoredFile */
/** @typedef {{bitmap: ChunkBitmap, chunks: Map<number, Uint8Array>}} Held */

/** @implements {Store} */
export class MemoryStore {
  /** @type {Map<string, Held>} by sha256 */
  #files = new Map();

  /** @type {"memory"} */
  kind = "memory";

  /** @param {Content} file @param {number} chunkSize @returns {Promise<StoredFile>} */
  async open(file, chunkSize) {
    const held = this.#find(file, chunkSize) ?? {
      bitmap: new ChunkBitmap(file.sizeBytes, chunkSize),
      chunks: new Map(),
    };
    this.#files.set(file.sha256, held);
    const { bitmap, chunks } = held;
    return {
      has: (index) => bitmap.has(index),
      async write(index, bytes) {
        chunks.set(index, bytes.slice());
        bitmap.set(index, true);
      },
      async read(index, into) {
        const bytes = chunks.get(index) ?? new Uint8Array(0);
        into.set(bytes);
        return into.subarray(0, bytes.length);
      },
      async drop(index) {
        chunks.delete(index);
        bitmap.set(index, false);
      },
      async close() {},
    };
  }

  /** @param {Content} file @param {number} chunkSize */
  async status(file, chunkSize) {
    return (this.#find(file, chunkSize)?.bitmap ?? new ChunkBitmap(file.sizeBytes, chunkSize)).status();
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    this.#files.delete(sha256);
  }

  async list() {
    return [...this.#files].map(([sha256, { bitmap }]) => {
      return { sha256, sizeBytes: bitmap.sizeBytes, complete: bitmap.status().complete };
    });
  }

  async usage() {
    let usedBytes = 0;
    for (const { bitmap } of this.#files.values()) usedBytes += bitmap.status().presentBytes;
    return { usedBytes };
  }

  async freeBytes() {
    return null;
  }

  /** @param {Content} file @param {number} chunkSize */
  #find({ sha256 }, chunkSize) {
    const held = this.#files.get(sha256);
    return held?.bitmap.chunkSize === chunkSize ? held : undefined;
  }
}
