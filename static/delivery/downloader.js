/**
 * Owns the way of a model's files from the server into the store and out of it: the public functions of this folder.
 */
import { FeatherweightError, throwIfAborted } from "../errors.js";
import { sha256Hex } from "../sha256.js";
import { DEFAULT_RETRY } from "./backoff.js";
import { chunkLength } from "./chunks.js";
import { FileDownload } from "./file_download.js";
import { planSpans, removableContents } from "./plan.js";
import { ProgressMeter } from "./progress.js";
import { ensureSpace } from "./quota.js";

/** @typedef {import("../manifest/manifest.js").Manifest} Manifest */
/** @typedef {import("../manifest/manifest.js").FileEntry} FileEntry */
/** @typedef {import("./store/store.js").Store} Store */
/** @typedef {import("./progress.js").Progress} Progress */

/**
 * @typedef {object} FetchOptions
 * @property {AbortSignal} [signal]
 * @property {(progress: Progress) => void} [onProgress] about ten times a second
 * @property {number} [connections] requests in flight
 * @property {import("./file_download.js").OnChunk} [onChunk]
 * @property {typeof globalThis.fetch} [fetch]
 * @property {import("./quota.js").StorageFacts} [storage] asked for free space
 * @property {import("./backoff.js").RetryPolicy} [retry]
 * @property {number} [stallMs] a connection silent for so long is given up and made anew
 */

const MAX_SPAN_BYTES = 8 << 20;
const STALL_MS = 30_000;
/** Chunks being hashed at once while a file is read. */
const READ_AHEAD = 4;

/**
 * Brings every chunk of these files into the store: what is missing is fetched by ranges, in parallel, in the order
 * of `paths`; each chunk is verified against the manifest before it is stored. Memory: one chunk per connection, two
 * while a wrong one is repeated. After any error, and after the death of the tab, the stored chunks stay and the next
 * call fetches the rest.
 * @param {Manifest} manifest
 * @param {readonly string[]} paths
 * @param {Store} store
 * @param {FetchOptions} [options]
 * @returns {Promise<{networkBytes: number}>}
 * @throws {FeatherweightError} integrity, quota, network, not_found, aborted, store
 */
export async function fetchFiles(manifest, paths, store, options = {}) {
  const { signal, onProgress, connections = 4, onChunk, fetch = globalThis.fetch, retry = DEFAULT_RETRY } = options;
  const { stallMs = STALL_MS, storage = globalThis.navigator?.storage } = options;
  throwIfAborted(signal);
  const { chunkSize } = manifest;
  const meter = new ProgressMeter(onProgress, () => performance.now());
  const files = distinctFiles(manifest, paths);
  /** @type {number[][]} */
  const missing = [];
  let missingBytes = 0;
  for (const file of files) {
    const status = await store.status(file, chunkSize);
    missing.push(status.missing);
    missingBytes += file.sizeBytes - status.presentBytes;
    meter.totalBytes += file.sizeBytes;
    meter.storedBytes += status.presentBytes;
  }
  meter.report();
  if (store.kind !== "memory") await ensureSpace(missingBytes, storage, store);
  throwIfAborted(signal);

  const stop = new AbortController();
  const forward = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", forward);
  const context = { store, chunkSize, signal: stop.signal, meter, retry, stallMs, fetch, onChunk };
  const downloads = files.map((file, i) => new FileDownload(file, missing[i], context));
  const spans = planSpans(missing, { connections, maxSpanChunks: Math.max(1, Math.floor(MAX_SPAN_BYTES / chunkSize)) });
  /** @type {unknown[]} */
  const failures = [];
  const work = async () => {
    for (let span = spans.shift(); span && !stop.signal.aborted; span = spans.shift()) {
      await downloads[span.file].fetchSpan(span.first, span.end);
    }
  };
  meter.start();
  try {
    await Promise.all(
      Array.from({ length: connections }, () =>
        work().catch((error) => {
          failures.push(error);
          stop.abort();
        }),
      ),
    );
  } finally {
    signal?.removeEventListener("abort", forward);
    for (const download of downloads) await download.close();
    meter.stop();
  }
  throwIfAborted(signal);
  if (failures.length > 0) throw failures[0];
  return { networkBytes: meter.networkBytes };
}

/**
 * Reads a stored file whole, verifying every chunk against the manifest again. Corrupt chunks are dropped from the
 * store before the error is thrown, so that fetchFiles repairs the file; loadFile does both.
 * @param {Manifest} manifest
 * @param {string} path
 * @param {Store} store
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {FeatherweightError} integrity (details.chunks: the dropped ones), store (file incomplete), out_of_memory,
 *   aborted, not_found
 */
export async function readFile(manifest, path, store, { signal } = {}) {
  throwIfAborted(signal);
  const { chunkSize } = manifest;
  const file = fileOf(manifest, path);
  const content = allocate(file);
  const stored = await store.open(file, chunkSize, { signal });
  /** @type {number[]} */
  const corrupt = [];
  try {
    /** @type {Promise<void>[]} */
    const checks = [];
    for (let index = 0; index < file.chunks.length; index++) {
      throwIfAborted(signal);
      if (!stored.has(index)) {
        throw new FeatherweightError("store", `${path} is not complete here: fetch it first.`, { path, chunk: index });
      }
      const begin = index * chunkSize;
      const target = content.subarray(begin, begin + chunkLength(file.sizeBytes, chunkSize, index));
      const check = sha256Hex(await stored.read(index, target)).then((actual) => {
        if (actual !== file.chunks[index]) corrupt.push(index);
      });
      checks.push(check);
      if (checks.length >= READ_AHEAD) await checks.shift();
    }
    await Promise.all(checks);
    for (const index of corrupt) await stored.drop(index);
  } finally {
    await stored.close();
  }
  if (corrupt.length === 0) return content;
  corrupt.sort((a, b) => a - b);
  const message = `${path}: chunk ${corrupt.join(", ")} was damaged in storage and dropped; fetching the file again repairs it.`;
  throw new FeatherweightError("integrity", message, { path, chunks: corrupt });
}

/**
 * readFile, and where the stored copy is incomplete or damaged, fetchFiles and readFile once more.
 * @param {Manifest} manifest
 * @param {string} path
 * @param {Store} store
 * @param {FetchOptions} [options]
 * @returns {Promise<{content: Uint8Array<ArrayBuffer>, networkBytes: number}>} networkBytes: what the repair fetched
 */
export async function loadFile(manifest, path, store, options = {}) {
  try {
    return { content: await readFile(manifest, path, store, options), networkBytes: 0 };
  } catch (error) {
    const repairable = error instanceof FeatherweightError && (error.code === "integrity" || error.code === "store");
    if (!repairable) throw error;
  }
  const { networkBytes } = await fetchFiles(manifest, [path], store, options);
  return { content: await readFile(manifest, path, store, options), networkBytes };
}

/**
 * @param {Manifest} manifest
 * @param {string} dtype
 * @param {Store} store
 * @returns {Promise<{presentBytes: number, totalBytes: number, complete: boolean}>}
 */
export async function variantStatus(manifest, dtype, store) {
  const sum = { presentBytes: 0, totalBytes: 0, complete: true };
  for (const file of distinctFiles(manifest, manifest.variant(dtype).files)) {
    const { presentBytes, complete } = await store.status(file, manifest.chunkSize);
    sum.presentBytes += presentBytes;
    sum.totalBytes += file.sizeBytes;
    sum.complete &&= complete;
  }
  return sum;
}

/**
 * Removes a variant from the store, except files that another stored variant of the model shares.
 * @param {Manifest} manifest
 * @param {string} dtype
 * @param {Store} store
 * @throws {FeatherweightError} store (another tab is using it)
 */
export async function removeVariant(manifest, dtype, store) {
  /** @type {Map<string, number>} */
  const presentBytes = new Map();
  const contents = async (/** @type {readonly string[]} */ paths) => {
    const files = distinctFiles(manifest, paths);
    for (const file of files)
      presentBytes.set(file.sha256, (await store.status(file, manifest.chunkSize)).presentBytes);
    return files.map((file) => file.sha256);
  };
  const removed = await contents(manifest.variant(dtype).files);
  const others = [];
  for (const variant of manifest.variants) if (variant.dtype !== dtype) others.push(await contents(variant.files));
  for (const sha256 of removableContents(removed, others, (key) => presentBytes.get(key) ?? 0))
    await store.remove(sha256);
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
function distinctFiles(manifest, paths) {
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
