/**
 * Owns the way of one file's chunks: from the store or else from the server, each verified, stored and handed on, and
 * what goes wrong on the way.
 */
import { FeatherweightError, throwIfAborted } from "../errors.js";
import { sha256Hex } from "../sha256.js";
import { backoffMs, sleep } from "./backoff.js";
import { ChunkAssembler } from "./chunk_assembler.js";
import { chunkCount, chunkLength } from "./chunks.js";
import { TransientError, requestRange } from "./range_request.js";

/** @typedef {import("../manifest/manifest.js").FileEntry} FileEntry */
/** @typedef {import("./store/store.js").Store} Store */
/** @typedef {import("./store/store.js").StoredFile} StoredFile */

/**
 * What all files of one delivery share.
 * @typedef {object} DownloadContext
 * @property {Store} store
 * @property {number} chunkSize
 * @property {AbortSignal} signal
 * @property {import("./progress.js").ProgressMeter} meter
 * @property {import("./backoff.js").RetryPolicy} retry
 * @property {number} stallMs
 * @property {typeof globalThis.fetch} fetch
 */

/**
 * Receives each chunk of a file once, verified, in any order. `bytes` belongs to the caller, who waits for the returned
 * promise and then overwrites it: copy what must stay. Do not ask for the same file from here.
 * @typedef {(index: number, bytes: Uint8Array) => void | Promise<void>} TakeChunk
 */

/** So many bytes since the last failure count as progress: the patience starts anew. */
const PROGRESS_BYTES = 64 << 10;

/** What a store that is full holds of a file that it cannot even open. @type {StoredFile} */
const NOTHING_STORED = Object.freeze({
  has: () => false,
  write: async () => {},
  read: async (_, into) => into.subarray(0, 0),
  drop: async () => {},
  close: async () => {},
});

export class FileDownload {
  #file;
  #context;
  #take;
  /**
   * Fetched chunks from here on are not written. Memory need not hold what was handed on, and a full store cannot;
   * whoever asks again fetches again.
   */
  #keptEnd;
  /** Chunks that are neither stored nor brought. @type {Set<number>} */
  #missing;
  /** Chunks that are still to be brought. @type {Set<number>} */
  #wanted;
  /** @type {Promise<StoredFile> | undefined} */
  #opening;
  #activeSpans = 0;
  /**
   * The stream that fetches all missing chunks, once the server has shown that it ignores ranges.
   * @type {ChunkAssembler | undefined}
   */
  #wholeStream;

  /**
   * @param {FileEntry} file
   * @param {Set<number>} missing what the store does not hold; kept up to date
   * @param {DownloadContext} context
   * @param {TakeChunk} [take] gets every chunk; without it only missing ones are brought, into the store
   */
  constructor(file, missing, context, take) {
    this.#file = file;
    this.#missing = missing;
    this.#context = context;
    this.#take = take;
    this.#keptEnd = !take || context.store.kind !== "memory" ? Infinity : 0;
    this.#wanted = new Set(take ? file.chunks.keys() : missing);
  }

  /** Chunks that are still to be brought, ascending. */
  get wanted() {
    return [...this.#wanted].sort((a, b) => a - b);
  }

  /**
   * Brings chunks [first, end). Several spans of a file may run at once; the file is closed with the last one.
   * @param {number} first
   * @param {number} end
   * @param {Uint8Array} buffer for one chunk
   */
  async deliverSpan(first, end, buffer) {
    if (this.#wanted.size === 0) return;
    this.#activeSpans++;
    try {
      await this.#deliverStored(await this.#open(), first, end, buffer);
      for (let from = first; from < end && !this.#wholeStream; ) {
        let to = from;
        while (to < end && this.#toFetch(to)) to++;
        if (to > from) await this.#fetchRun(from, to, buffer);
        from = to + 1;
      }
    } finally {
      this.#activeSpans--;
      if (this.#activeSpans === 0 && this.#wanted.size === 0) await this.close();
    }
  }

  /** Fetches chunks [first, end), all of them missing, with one request if all goes well. @param {number} first @param {number} end @param {Uint8Array} buffer */
  async #fetchRun(first, end, buffer) {
    const assembler = new ChunkAssembler(this.#file.sizeBytes, this.#context.chunkSize, buffer);
    assembler.want(first, end, (index) => this.#toFetch(index));
    await this.#stream(assembler, "no-store");
  }

  async close() {
    const opening = this.#opening;
    this.#opening = undefined;
    await (await opening?.catch(() => undefined))?.close();
  }

  #open() {
    this.#opening ??= this.#openOnce();
    return this.#opening;
  }

  async #openOnce() {
    const { store, chunkSize, signal, meter } = this.#context;
    const stored = await store.open(this.#file, chunkSize, { signal }).catch((error) => {
      this.#withoutStore(error, 0);
      return NOTHING_STORED;
    });
    // Another tab may have fetched some since the check.
    for (const index of this.#missing) {
      if (!stored.has(index)) continue;
      this.#missing.delete(index);
      if (!this.#take) this.#wanted.delete(index);
      meter.storedBytes += chunkLength(this.#file.sizeBytes, chunkSize, index);
    }
    return stored;
  }

  /** @param {number} index */
  #toFetch(index) {
    return this.#wanted.has(index) && this.#missing.has(index);
  }

  /**
   * Hands on those chunks of [first, end) that are stored; a damaged one is dropped, and is missing from then on.
   * @param {StoredFile} stored
   * @param {number} first
   * @param {number} end
   * @param {Uint8Array} buffer
   */
  async #deliverStored(stored, first, end, buffer) {
    const { chunkSize, signal, meter } = this.#context;
    const { sizeBytes, chunks } = this.#file;
    for (let index = first; index < end; index++) {
      if (!this.#wanted.has(index) || this.#missing.has(index)) continue;
      const length = chunkLength(sizeBytes, chunkSize, index);
      const bytes = await stored.read(index, buffer.subarray(0, length));
      const actual = await sha256Hex(bytes);
      throwIfAborted(signal);
      if (actual === chunks[index]) {
        await this.#take?.(index, bytes);
        this.#wanted.delete(index);
      } else {
        await stored.drop(index);
        this.#missing.add(index);
        meter.storedBytes -= length;
      }
    }
  }

  /**
   * Runs requests until the assembler has all it wants. A broken one is continued at the byte where it stopped. (A
   * browser throws away what it holds unread of a broken answer: next to nothing, as long as chunks are stored faster
   * than they come.) The first try bypasses the HTTP cache ("no-store"): it would keep a second copy of the model,
   * and Chromium lets only one request at a time fill a cache entry, which would make parallel ranges of a file wait
   * for each other.
   * @param {ChunkAssembler} assembler
   * @param {"no-store" | "reload"} cache
   */
  async #stream(assembler, cache) {
    const { meter, retry, signal } = this.#context;
    const unfollow = meter.follow(assembler);
    let failures = 0;
    try {
      while (assembler.wantsMore) {
        const before = assembler.position;
        try {
          await this.#attempt(assembler, cache);
          failures = 0;
        } catch (error) {
          if (!(error instanceof TransientError)) throw error;
          failures = assembler.position - before >= PROGRESS_BYTES ? 1 : failures + 1;
          if (failures > retry.attempts) throw this.#networkError(error, failures);
          await sleep(
            Math.max(backoffMs(failures, retry, Math.random()), Math.min(error.retryAfterMs, retry.capMs)),
            signal,
          );
        }
      }
    } finally {
      unfollow();
      if (this.#wholeStream === assembler) this.#wholeStream = undefined;
    }
  }

  /** One request. @param {ChunkAssembler} assembler @param {"no-store" | "reload"} cache */
  async #attempt(assembler, cache) {
    const { fetch, signal, stallMs, meter } = this.#context;
    const { position, endPosition } = assembler;
    const response = await requestRange(this.#file, position, endPosition, { fetch, cache, signal, stallMs });
    try {
      if (response.whole && cache === "no-store" && !this.#takeWhole(assembler)) return;
      assembler.seek(response.offset);
      for await (const piece of response.pieces) {
        meter.networkBytes += piece.length;
        for (const { index, bytes } of assembler.push(piece)) await this.#accept(index, bytes, cache);
        if (response.whole && !assembler.wantsMore) break;
      }
    } finally {
      response.close();
    }
  }

  /**
   * The server ignores ranges: rather than skip through the file for each span, one stream takes all missing chunks
   * and the others stand back.
   * @param {ChunkAssembler} assembler
   * @returns {boolean} whether this is that stream
   */
  #takeWhole(assembler) {
    if (!this.#wholeStream) {
      this.#wholeStream = assembler;
      assembler.want(0, chunkCount(this.#file.sizeBytes, this.#context.chunkSize), (index) => this.#toFetch(index));
    }
    if (this.#wholeStream === assembler) return true;
    assembler.want(0, 0, () => false);
    return false;
  }

  /**
   * Verifies a chunk, stores it and hands it on; a wrong one is fetched once more, past all caches.
   * @param {number} index
   * @param {Uint8Array} bytes
   * @param {"no-store" | "reload"} cache
   */
  async #accept(index, bytes, cache) {
    const { signal, meter } = this.#context;
    const { path, url, chunks } = this.#file;
    const expected = chunks[index];
    const actual = await sha256Hex(bytes);
    throwIfAborted(signal);
    if (!this.#toFetch(index)) return;
    if (actual !== expected && cache === "reload") {
      const message = `${path}, chunk ${index}: wrong bytes came twice (SHA-256 ${actual}, the manifest says ${expected}). Nothing of it was kept.`;
      throw new FeatherweightError("integrity", message, { path, url, chunk: index, expected, actual });
    }
    if (actual !== expected) {
      const again = new ChunkAssembler(this.#file.sizeBytes, this.#context.chunkSize, bytes);
      again.want(index, index + 1, () => this.#toFetch(index));
      return this.#stream(again, "reload");
    }
    this.#wanted.delete(index);
    const stored = await this.#open();
    if (index < this.#keptEnd) await stored.write(index, bytes).catch((error) => this.#withoutStore(error, index));
    this.#missing.delete(index);
    await this.#take?.(index, bytes);
    meter.addFetched(bytes.length);
  }

  /**
   * Where the store is full although it promised room (private windows do), who takes the chunks gets them all the same;
   * they are fetched again the next time. Earlier chunks are still tried: a file is charged by its length.
   * @param {unknown} error thrown again, unless it says so
   * @param {number} index of the first chunk that did not fit
   */
  #withoutStore(error, index) {
    if (!this.#take || FeatherweightError.from(error, "store").code !== "quota") throw error;
    this.#keptEnd = Math.min(this.#keptEnd, index);
  }

  /** @param {TransientError} cause @param {number} attempts */
  #networkError(cause, attempts) {
    const { path, url } = this.#file;
    const offline = globalThis.navigator?.onLine === false;
    const reason = offline
      ? "This device is offline"
      : `${path} cannot be fetched (${cause.message}, ${attempts} attempts)`;
    const message = `${reason}. What has arrived is kept: start again to go on from there.`;
    return new FeatherweightError("network", message, { path, url, offline }, { cause });
  }
}
