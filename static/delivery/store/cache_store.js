/**
 * Owns the store on the Cache API, for browsers and contexts without the origin private file system: one entry per
 * chunk.
 */
import { throwIfAborted } from "../../errors.js";
import { chunkLength } from "../chunks.js";
import { ChunkBitmap } from "./chunk_bitmap.js";
import { acquireFileLock, acquireFileLockNow } from "./file_lock.js";
import { storeError } from "./store_error.js";

/** @typedef {import("./store.js").Content} Content */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./store.js").StoredFile} StoredFile */

const CACHE_NAME = "featherweight-store-v1";
/** Entries are keyed by addresses that no server has: `.../{sha256}?size_bytes=&chunk_size=&index=`. */
const KEY_PREFIX = "/__featherweight_store__/";
/** Chromium's cache may never answer again, until the browser restarts, after a tab died that was writing to it. */
const PATIENCE_MS = 10_000;

/** @implements {Store} */
export class CacheStore {
  #cache;
  #locks;

  /** @type {"cache"} */
  kind = "cache";

  /** @param {Cache} cache @param {LockManager | undefined} locks */
  constructor(cache, locks) {
    this.#cache = cache;
    this.#locks = locks;
  }

  /**
   * @param {import("./store.js").Platform} platform
   * @param {number} [patienceMs]
   * @returns {Promise<CacheStore | null>} null where it does not work
   */
  static async tryOpen({ caches, locks }, patienceMs = PATIENCE_MS) {
    try {
      const cache = await caches?.open(CACHE_NAME);
      if (!cache || !(await answers(cache, patienceMs))) return null;
      return new CacheStore(cache, locks);
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
    const progress = async () => (await this.status(file, chunkSize)).presentBytes;
    const release = await acquireFileLock(this.#locks, file.sha256, { signal, progress });
    try {
      throwIfAborted(signal);
      return new CachedFile(this.#cache, file, await this.#bitmap(file, chunkSize), release);
    } catch (error) {
      release();
      throw storeError(error, "open", file.sha256);
    }
  }

  /** @param {Content} file @param {number} chunkSize */
  async status(file, chunkSize) {
    return (await this.#bitmap(file, chunkSize)).status();
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    const release = await acquireFileLockNow(this.#locks, sha256);
    try {
      for (const request of await this.#cache.keys(KEY_PREFIX + sha256, { ignoreSearch: true })) {
        await this.#cache.delete(request);
      }
    } catch (error) {
      throw storeError(error, "remove", sha256);
    } finally {
      release();
    }
  }

  async list() {
    const bitmaps = await this.#bitmaps();
    return [...bitmaps].map(([sha256, bitmap]) => {
      return { sha256, sizeBytes: bitmap.sizeBytes, complete: bitmap.status().complete };
    });
  }

  async usage() {
    let usedBytes = 0;
    for (const bitmap of (await this.#bitmaps()).values()) usedBytes += bitmap.status().presentBytes;
    return { usedBytes };
  }

  async freeBytes() {
    return null;
  }

  /** @param {Content} file @param {number} chunkSize */
  async #bitmap({ sha256, sizeBytes }, chunkSize) {
    const bitmap = new ChunkBitmap(sizeBytes, chunkSize);
    const requests = this.#cache.keys(KEY_PREFIX + sha256, { ignoreSearch: true });
    for (const request of await requests.catch(throwAs("read", sha256))) {
      const key = readKey(request.url);
      if (key?.chunkSize === chunkSize && key.index < bitmap.count) bitmap.set(key.index, true);
    }
    return bitmap;
  }

  async #bitmaps() {
    /** @type {Map<string, ChunkBitmap>} */
    const bitmaps = new Map();
    for (const request of await this.#cache.keys()) {
      const key = readKey(request.url);
      if (!key) continue;
      const bitmap = bitmaps.get(key.sha256) ?? new ChunkBitmap(key.sizeBytes, key.chunkSize);
      bitmaps.set(key.sha256, bitmap);
      if (key.index < bitmap.count) bitmap.set(key.index, true);
    }
    return bitmaps;
  }
}

/** @implements {StoredFile} */
class CachedFile {
  #cache;
  #file;
  #bitmap;
  #release;

  /** @param {Cache} cache @param {Content} file @param {ChunkBitmap} bitmap @param {() => void} release */
  constructor(cache, file, bitmap, release) {
    this.#cache = cache;
    this.#file = file;
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
      const body = /** @type {Uint8Array<ArrayBuffer>} */ (bytes);
      await this.#cache.put(
        this.#key(index),
        new Response(body, { headers: { "Content-Length": String(bytes.length) } }),
      );
      this.#bitmap.set(index, true);
    } catch (error) {
      throw storeError(error, "write", this.#file.sha256);
    }
  }

  /** @param {number} index @param {Uint8Array} into */
  async read(index, into) {
    const response = await this.#cache.match(this.#key(index)).catch(throwAs("read", this.#file.sha256));
    const bytes = response ? new Uint8Array(await response.arrayBuffer()) : new Uint8Array(0);
    if (bytes.length !== chunkLength(this.#file.sizeBytes, this.#bitmap.chunkSize, index)) return bytes;
    into.set(bytes);
    return into;
  }

  /** @param {number} index */
  async drop(index) {
    await this.#cache.delete(this.#key(index)).catch(throwAs("write", this.#file.sha256));
    this.#bitmap.set(index, false);
  }

  async close() {
    this.#release();
  }

  /** @param {number} index */
  #key(index) {
    const { sha256, sizeBytes } = this.#file;
    return `${KEY_PREFIX}${sha256}?size_bytes=${sizeBytes}&chunk_size=${this.#bitmap.chunkSize}&index=${index}`;
  }
}

/** @param {Cache} cache @param {number} patienceMs @returns {Promise<boolean>} */
async function answers(cache, patienceMs) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, patienceMs, false)));
  const found = cache.match(KEY_PREFIX).then(() => true);
  return Promise.race([found, late]).finally(() => clearTimeout(timer));
}

/**
 * @param {string} action
 * @param {string} sha256
 * @returns {(cause: unknown) => never}
 */
function throwAs(action, sha256) {
  return (cause) => {
    throw storeError(cause, action, sha256);
  };
}

/**
 * @param {string} url
 * @returns {{sha256: string, sizeBytes: number, chunkSize: number, index: number} | null} null when it is not ours
 */
function readKey(url) {
  const { pathname, searchParams } = new URL(url);
  const [sizeBytes, chunkSize, index] = ["size_bytes", "chunk_size", "index"].map((name) =>
    Number(searchParams.get(name) ?? NaN),
  );
  const ours = pathname.startsWith(KEY_PREFIX) && chunkSize > 0 && index >= 0 && sizeBytes >= 0;
  return ours ? { sha256: pathname.slice(KEY_PREFIX.length), sizeBytes, chunkSize, index } : null;
}
