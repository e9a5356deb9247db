/**
 * Owns the download of one file: streams its spans, verifies each chunk, stores it, and deals with what goes wrong on
 * the way.
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
 * What all files of one fetchFiles call share.
 * @typedef {object} DownloadContext
 * @property {Store} store
 * @property {number} chunkSize
 * @property {AbortSignal} signal
 * @property {import("./progress.js").ProgressMeter} meter
 * @property {import("./backoff.js").RetryPolicy} retry
 * @property {number} stallMs
 * @property {typeof globalThis.fetch} fetch
 * @property {OnChunk | undefined} onChunk
 */

/**
 * Receives each fetched chunk once it is verified and stored. `bytes` belongs to the downloader, which waits for the
 * returned promise and then overwrites it: copy what must stay. Chunks that were stored already are not delivered. Do
 * not call readFile for the same path from here.
 * @typedef {(path: string, index: number, bytes: Uint8Array) => void | Promise<void>} OnChunk
 */

/** So many bytes since the last failure count as progress: the patience starts anew. */
const PROGRESS_BYTES = 64 << 10;

export class FileDownload {
  #file;
  #context;
  /** Chunks that are neither stored nor given up. @type {Set<number>} */
  #pending;
  /** @type {Promise<StoredFile> | undefined} */
  #opening;
  #activeSpans = 0;
  /**
   * The stream that fetches all pending chunks, once the server has shown that it ignores ranges.
   * @type {ChunkAssembler | undefined}
   */
  #wholeStream;

  /** @param {FileEntry} file @param {Iterable<number>} missing @param {DownloadContext} context */
  constructor(file, missing, context) {
    this.#file = file;
    this.#pending = new Set(missing);
    this.#context = context;
  }

  /**
   * Fetches chunks [first, end). Several spans of a file may run at once; the file is closed with the last one.
   * @param {number} first
   * @param {number} end
   */
  async fetchSpan(first, end) {
    if (this.#pending.size === 0) return;
    this.#activeSpans++;
    try {
      await this.#open();
      if (this.#wholeStream) return;
      const assembler = new ChunkAssembler(this.#file.sizeBytes, this.#context.chunkSize);
      assembler.want(first, end, (index) => this.#pending.has(index));
      await this.#stream(assembler, "no-store");
    } finally {
      this.#activeSpans--;
      if (this.#activeSpans === 0 && this.#pending.size === 0) await this.close();
    }
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
    const stored = await store.open(this.#file, chunkSize, { signal });
    // Another tab may have fetched some since the check.
    for (const index of this.#pending) {
      if (!stored.has(index)) continue;
      this.#pending.delete(index);
      meter.storedBytes += chunkLength(this.#file.sizeBytes, chunkSize, index);
    }
    return stored;
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
   * The server ignores ranges: rather than skip through the file for each span, one stream takes all pending chunks
   * and the others stand back.
   * @param {ChunkAssembler} assembler
   * @returns {boolean} whether this is that stream
   */
  #takeWhole(assembler) {
    if (!this.#wholeStream) {
      this.#wholeStream = assembler;
      assembler.want(0, chunkCount(this.#file.sizeBytes, this.#context.chunkSize), (index) => this.#pending.has(index));
    }
    if (this.#wholeStream === assembler) return true;
    assembler.want(0, 0, () => false);
    return false;
  }

  /**
   * Verifies a chunk, then stores it; a wrong one is fetched once more, past all caches.
   * @param {number} index
   * @param {Uint8Array} bytes
   * @param {"no-store" | "reload"} cache
   */
  async #accept(index, bytes, cache) {
    const { signal, meter, onChunk } = this.#context;
    const { path, url, chunks } = this.#file;
    const expected = chunks[index];
    const actual = await sha256Hex(bytes);
    throwIfAborted(signal);
    if (!this.#pending.has(index)) return;
    if (actual !== expected && cache === "reload") {
      const message = `${path}, chunk ${index}: wrong bytes came twice (SHA-256 ${actual}, the manifest says ${expected}). Nothing of it was kept.`;
      throw new FeatherweightError("integrity", message, { path, url, chunk: index, expected, actual });
    }
    if (actual !== expected) {
      const again = new ChunkAssembler(this.#file.sizeBytes, this.#context.chunkSize);
      again.want(index, index + 1, () => this.#pending.has(index));
      return this.#stream(again, "reload");
    }
    const stored = await this.#open();
    await stored.write(index, bytes);
    this.#pending.delete(index);
    await onChunk?.(path, index, bytes);
    meter.addFetched(bytes.length);
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
