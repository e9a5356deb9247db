/** Owns one load's way to the files of a model: each chunk verified, from the store or the server, in one stream. */
import { FeatherweightError, throwIfAborted } from "../errors.js";
import { DEFAULT_RETRY } from "./backoff.js";
import { FileDownload } from "./file_download.js";
import { Lanes } from "./lanes.js";
import { planSpans } from "./plan.js";
import { ProgressMeter } from "./progress.js";
import { ensureSpace, runsBeyondStore } from "./quota.js";

/** @typedef {import("../manifest/manifest.js").Manifest} Manifest */
/** @typedef {import("../manifest/manifest.js").FileEntry} FileEntry */
/** @typedef {import("./store/store.js").Store} Store */

/**
 * @typedef {object} DeliveryOptions
 * @property {AbortSignal} [signal]
 * @property {(progress: import("./progress.js").Progress) => void} [onProgress] about ten times a second
 * @property {number} [connections] requests in flight
 * @property {typeof globalThis.fetch} [fetch]
 * @property {import("./quota.js").StorageFacts} [storage] asked for free space
 * @property {import("./backoff.js").RetryPolicy} [retry]
 * @property {number} [stallMs] a connection silent for so long is given up and made anew
 */

/**
 * Receives each chunk once, verified, in any order: where it lies in the file, and its bytes. They belong to the
 * delivery, which waits for the returned promise and then overwrites them: copy what must stay.
 * @typedef {(path: string, offset: number, bytes: Uint8Array) => void | Promise<void>} TakeBytes
 */

const MAX_SPAN_BYTES = 8 << 20;
const STALL_MS = 30_000;

export class Delivery {
  #manifest;
  #context;
  #lanes;
  #connections;
  #stop = new AbortController();
  #forward = () => this.#stop.abort(this.#signal?.reason);
  #signal;
  /** Of each content the chunks that are neither stored nor brought. @type {Map<string, Set<number>>} by sha256 */
  #missing = new Map();

  /**
   * @param {Manifest} manifest
   * @param {Store} store
   * @param {DeliveryOptions} options
   */
  constructor(manifest, store, { signal, onProgress, connections = 4, fetch = globalThis.fetch, retry = DEFAULT_RETRY, stallMs = STALL_MS }) {
    const meter = new ProgressMeter(onProgress, () => performance.now());
    this.#manifest = manifest;
    this.#context = { store, chunkSize: manifest.chunkSize, signal: this.#stop.signal, meter, retry, stallMs, fetch };
    this.#connections = connections;
    // Chunks pass through these buffers: new ones would pile up until they are collected.
    this.#lanes = new Lanes(Array.from({ length: connections }, () => new Uint8Array(manifest.chunkSize)));
    this.#signal = signal;
    signal?.addEventListener("abort", this.#forward);
  }

  /**
   * Looks what of these files is stored, and whether there is space for the rest. Close it in the end.
   * @param {Manifest} manifest
   * @param {readonly string[]} paths
   * @param {Store} store
   * @param {DeliveryOptions} [options]
   * @returns {Promise<Delivery>}
   * @throws {FeatherweightError} quota, not_found, aborted, store
   */
  static async open(manifest, paths, store, options = {}) {
    throwIfAborted(options.signal);
    const delivery = new Delivery(manifest, store, options);
    try {
      await delivery.#survey(distinctFiles(manifest, paths), options.storage ?? globalThis.navigator?.storage);
      throwIfAborted(options.signal);
      return delivery;
    } catch (error) {
      delivery.close();
      throw error;
    }
  }

  /** What came over the network so far. */
  get networkBytes() {
    return this.#context.meter.networkBytes;
  }

  /**
   * Brings what is missing of these files into the store. After any error, and after the death of the tab, the stored
   * chunks stay. Do not ask for a file while an earlier call brings it.
   * @param {readonly string[]} paths of those that were surveyed
   * @throws {FeatherweightError} integrity, quota, network, aborted, store
   */
  async fetch(paths) {
    await this.#bring(distinctFiles(this.#manifest, paths));
  }

  /**
   * Hands on every chunk of these files, in the order in which they come; what is not stored is fetched, and stored
   * unless the store is this worker's memory. Memory: one chunk per connection, two while a wrong one is repeated.
   * @param {readonly string[]} paths
   * @param {TakeBytes} take its error stops this call
   * @throws {FeatherweightError} integrity, quota, network, aborted, store
   */
  async stream(paths, take) {
    const contentOf = (/** @type {string} */ path) => fileOf(this.#manifest, path).sha256;
    await this.#bring(distinctFiles(this.#manifest, paths), ({ sha256 }) => {
      const same = paths.filter((path) => contentOf(path) === sha256);
      return async (index, bytes) => {
        for (const path of same) await take(path, index * this.#manifest.chunkSize, bytes);
      };
    });
  }

  /**
   * A whole file.
   * @param {string} path
   * @returns {Promise<Uint8Array<ArrayBuffer>>} the caller's
   * @throws {FeatherweightError} also out_of_memory
   */
  async read(path) {
    const content = allocate(fileOf(this.#manifest, path));
    await this.stream([path], (_, offset, bytes) => content.set(bytes, offset));
    return content;
  }

  /** Stops whatever is still under way; what is stored stays. */
  close() {
    this.#signal?.removeEventListener("abort", this.#forward);
    this.#stop.abort();
    this.#context.meter.stop();
  }

  /** @param {FileEntry[]} files @param {import("./quota.js").StorageFacts | undefined} storage */
  async #survey(files, storage) {
    const { store, meter, chunkSize } = this.#context;
    let missingBytes = 0;
    const statuses = await Promise.all(files.map((file) => store.status(file, chunkSize)));
    for (const [at, file] of files.entries()) {
      const { missing, presentBytes } = statuses[at];
      this.#missing.set(file.sha256, new Set(missing));
      missingBytes += file.sizeBytes - presentBytes;
      meter.totalBytes += file.sizeBytes;
      meter.storedBytes += presentBytes;
    }
    meter.report();
    if (store.kind !== "memory" && !runsBeyondStore(meter.storedBytes, missingBytes)) await ensureSpace(missingBytes, storage, store);
    meter.start();
  }

  /**
   * Requests go out in the order of the files; the first failure stops the others of this call.
   * @param {FileEntry[]} files
   * @param {(file: FileEntry) => import("./file_download.js").TakeChunk} [takeOf]
   */
  async #bring(files, takeOf) {
    throwIfAborted(this.#stop.signal);
    const stop = new AbortController();
    const forward = () => stop.abort(this.#stop.signal.reason);
    this.#stop.signal.addEventListener("abort", forward);
    const context = { ...this.#context, signal: stop.signal };
    const downloads = files.map((file) => new FileDownload(file, this.#missingOf(file), context, takeOf?.(file)));
    const limits = { connections: this.#connections, maxSpanChunks: Math.max(1, Math.floor(MAX_SPAN_BYTES / this.#manifest.chunkSize)) };
    /** @type {unknown[]} */
    const failures = [];
    /** @param {import("./plan.js").Span} span @param {Uint8Array} buffer */
    const deliver = async ({ file, first, end }, buffer) => {
      if (stop.signal.aborted) return;
      await downloads[file].deliverSpan(first, end, buffer).catch((error) => {
        failures.push(error);
        stop.abort();
      });
    };
    try {
      // Once more where a stored chunk turned out to be damaged after the one stream of a server without ranges was past it.
      while (!stop.signal.aborted && downloads.some(({ wanted }) => wanted.length > 0)) {
        const spans = planSpans(downloads.map(({ wanted }) => wanted), limits);
        await Promise.all(spans.map((span) => this.#lanes.run((buffer) => deliver(span, buffer))));
      }
    } finally {
      this.#stop.signal.removeEventListener("abort", forward);
      for (const download of downloads) await download.close();
    }
    throwIfAborted(this.#stop.signal);
    if (failures.length > 0) throw failures[0];
  }

  /** @param {FileEntry} file */
  #missingOf({ path, sha256 }) {
    const missing = this.#missing.get(sha256);
    if (!missing) throw new RangeError(`${path} was not surveyed`);
    return missing;
  }
}

/** @param {Manifest} manifest @param {string} path */
function fileOf(manifest, path) {
  const file = manifest.files.get(path);
  if (!file) throw new FeatherweightError("not_found", `The manifest names no file "${path}".`, { path });
  return file;
}

/**
 * The files in order, each content once.
 * @param {Manifest} manifest
 * @param {readonly string[]} paths
 * @returns {FileEntry[]}
 */
export function distinctFiles(manifest, paths) {
  const bySha256 = new Map();
  for (const path of paths) {
    const file = fileOf(manifest, path);
    if (!bySha256.has(file.sha256)) bySha256.set(file.sha256, file);
  }
  return [...bySha256.values()];
}

/** @param {FileEntry} file */
function allocate({ path, sizeBytes }) {
  try {
    return new Uint8Array(sizeBytes);
  } catch (cause) {
    const message = `There is not enough memory for ${path} (${sizeBytes} bytes).`;
    throw new FeatherweightError("out_of_memory", message, { path, sizeBytes }, { cause });
  }
}
