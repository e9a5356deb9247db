/**
 * Owns the store on the origin private file system (dedicated workers only).
 *
 * For each content two files: `{sha256}.data`, the bytes at their place, and `{sha256}.chunks`, the record of which
 * chunks are there (chunk_bitmap.js). Data is written and flushed before the record says so: a tab that dies in
 * between loses that chunk and nothing else.
 */
import { FeatherweightError, throwIfAborted } from "../../errors.js";
import { ChunkBitmap } from "./chunk_bitmap.js";
import { acquireFileLock, acquireFileLockNow } from "./file_lock.js";
import { tryOutSpace } from "./space_trial.js";
import { isFull, storeError } from "./store_error.js";
import { openSyncHandle, retryWhile } from "./sync_handle.js";

/** @typedef {import("./store.js").Content} Content */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./store.js").StoredFile} StoredFile */
/** @typedef {import("./sync_handle.js").SyncHandle} SyncHandle */

const DIRECTORY = "featherweight-store-v1";

/** @implements {Store} */
export class OpfsStore {
  #directory;
  #locks;

  /** @type {"opfs"} */
  kind = "opfs";

  /** @param {FileSystemDirectoryHandle} directory @param {LockManager | undefined} locks */
  constructor(directory, locks) {
    this.#directory = directory;
    this.#locks = locks;
  }

  /**
   * @param {import("./store.js").Platform} platform
   * @returns {Promise<OpfsStore | null>} null where it does not work
   */
  static async tryOpen({ storage, locks }) {
    try {
      const root = await storage?.getDirectory();
      if (!root) return null;
      const directory = await root.getDirectoryHandle(DIRECTORY, { create: true });
      // A full one works all the same: whoever writes into it is told that it is full.
      await tryOutSpace(directory, locks, 0).catch((error) => {
        if (!isFull(error)) throw error;
      });
      return new OpfsStore(directory, locks);
    } catch {
      return null;
    }
  }

  /**
   * @param {Content} file
   * @param {number} chunkSize
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<StoredFile>}
   */
  async open(file, chunkSize, { signal } = {}) {
    const { sha256, sizeBytes } = file;
    const progress = async () => (await this.status(file, chunkSize)).presentBytes;
    const release = await acquireFileLock(this.#locks, sha256, { signal, progress });
    /** @type {SyncHandle | undefined} */
    let data;
    /** @type {SyncHandle | undefined} */
    let record;
    try {
      throwIfAborted(signal);
      data = await openSyncHandle(this.#directory, dataName(sha256));
      record = await openSyncHandle(this.#directory, recordName(sha256));
      const bitmap = loadRecord(record, data, sizeBytes, chunkSize);
      return new OpfsFile(sha256, data, record, bitmap, release);
    } catch (error) {
      data?.close();
      record?.close();
      release();
      throw storeError(error, "open", sha256);
    }
  }

  /** @param {Content} file @param {number} chunkSize */
  async status({ sha256, sizeBytes }, chunkSize) {
    const bitmap = await this.#readRecord(sha256);
    const fits = bitmap?.sizeBytes === sizeBytes && bitmap.chunkSize === chunkSize;
    return (fits ? bitmap : new ChunkBitmap(sizeBytes, chunkSize)).status();
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    const release = await acquireFileLockNow(this.#locks, sha256);
    try {
      // The record goes first: data without a record is nothing, a record without data would be a promise.
      for (const name of [recordName(sha256), dataName(sha256)]) {
        await this.#directory.removeEntry(name).catch(ignoreMissing);
      }
    } catch (error) {
      throw storeError(error, "remove", sha256);
    } finally {
      release();
    }
  }

  async list() {
    const contents = [];
    for (const sha256 of await this.#contents()) {
      const bitmap = await this.#readRecord(sha256);
      if (bitmap) contents.push({ sha256, sizeBytes: bitmap.sizeBytes, complete: bitmap.status().complete });
    }
    return contents;
  }

  async usage() {
    let usedBytes = 0;
    for (const sha256 of await this.#contents())
      usedBytes += (await this.#readRecord(sha256))?.status().presentBytes ?? 0;
    return { usedBytes };
  }

  /** @param {number} wantedBytes */
  async freeBytes(wantedBytes) {
    return tryOutSpace(this.#directory, this.#locks, wantedBytes).catch((error) => (isFull(error) ? 0 : null));
  }

  async #contents() {
    const contents = [];
    for await (const name of this.#directory.keys()) {
      const sha256 = /^([0-9a-f]{64})\.chunks$/.exec(name)?.[1];
      if (sha256) contents.push(sha256);
    }
    return contents;
  }

  /**
   * Reads a record without a lock, so also while another tab writes it.
   * @param {string} sha256
   * @returns {Promise<ChunkBitmap | null>}
   */
  async #readRecord(sha256) {
    const read = async () => {
      const record = await (await this.#directory.getFileHandle(recordName(sha256))).getFile();
      const bitmap = ChunkBitmap.decode(new Uint8Array(await record.arrayBuffer()));
      const data = await (await this.#directory.getFileHandle(dataName(sha256))).getFile();
      bitmap?.clip(data.size);
      return bitmap;
    };
    try {
      // A File is a snapshot: it cannot be read any more when the file was written after it was taken.
      return await retryWhile("NotReadableError", read);
    } catch (error) {
      if (/** @type {Error} */ (error).name === "NotFoundError") return null;
      throw storeError(error, "read", sha256);
    }
  }
}

/** @implements {StoredFile} */
class OpfsFile {
  #sha256;
  #data;
  #record;
  #bitmap;
  #release;
  #open = true;

  /**
   * @param {string} sha256
   * @param {SyncHandle} data
   * @param {SyncHandle} record
   * @param {ChunkBitmap} bitmap
   * @param {() => void} release
   */
  constructor(sha256, data, record, bitmap, release) {
    this.#sha256 = sha256;
    this.#data = data;
    this.#record = record;
    this.#bitmap = bitmap;
    this.#release = release;
  }

  /** @param {number} index */
  has(index) {
    return this.#bitmap.has(index);
  }

  /** @param {number} index @param {Uint8Array} bytes */
  async write(index, bytes) {
    try {
      const written = this.#data.write(bytes, { at: index * this.#bitmap.chunkSize });
      if (written !== bytes.length) {
        // Chromium gives an error's number, unsigned, where a private window is full.
        const taken = written < bytes.length ? written : 0;
        const message = `The browser's storage took ${taken} of ${bytes.length} bytes. Free disk space, then try again: what has arrived is kept.`;
        throw new FeatherweightError("quota", message, { sha256: this.#sha256 });
      }
      this.#data.flush();
      this.#note(index, true);
    } catch (error) {
      throw storeError(error, "write", this.#sha256);
    }
  }

  /** @param {number} index @param {Uint8Array} into */
  async read(index, into) {
    try {
      return into.subarray(0, this.#data.read(into, { at: index * this.#bitmap.chunkSize }));
    } catch (error) {
      throw storeError(error, "read", this.#sha256);
    }
  }

  /** @param {number} index */
  async drop(index) {
    try {
      this.#note(index, false);
      this.#record.flush();
    } catch (error) {
      throw storeError(error, "write", this.#sha256);
    }
  }

  async close() {
    if (!this.#open) return;
    this.#open = false;
    this.#data.close();
    this.#record.close();
    this.#release();
  }

  /** @param {number} index @param {boolean} present */
  #note(index, present) {
    this.#bitmap.set(index, present);
    const { at, byte } = this.#bitmap.encodedByte(index);
    this.#record.write(byte, { at });
  }
}

/**
 * The record as it can be believed, rewritten if it was of something else.
 * @param {SyncHandle} record
 * @param {SyncHandle} data
 * @param {number} sizeBytes
 * @param {number} chunkSize
 */
function loadRecord(record, data, sizeBytes, chunkSize) {
  const bytes = new Uint8Array(record.getSize());
  record.read(bytes, { at: 0 });
  const known = ChunkBitmap.decode(bytes);
  if (known?.sizeBytes === sizeBytes && known.chunkSize === chunkSize) {
    known.clip(data.getSize());
    return known;
  }
  const fresh = new ChunkBitmap(sizeBytes, chunkSize);
  record.truncate(0);
  data.truncate(0);
  record.write(fresh.encode(), { at: 0 });
  record.flush();
  return fresh;
}

/** @param {Error} error */
function ignoreMissing(error) {
  if (error.name !== "NotFoundError") throw error;
}

/** @param {string} sha256 */
function dataName(sha256) {
  return `${sha256}.data`;
}

/** @param {string} sha256 */
function recordName(sha256) {
  return `${sha256}.chunks`;
}
