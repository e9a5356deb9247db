/**
 * Owns one HTTP request for a range of a file: what a right answer looks like, and which failures may pass by
 * themselves.
 */
import { FeatherweightError, throwIfAborted } from "../errors.js";

/** @typedef {import("../manifest/manifest.js").FileEntry} FileEntry */

/**
 * @typedef {object} RangeOptions
 * @property {typeof globalThis.fetch} fetch
 * @property {RequestCache} cache
 * @property {AbortSignal} signal
 * @property {number} stallMs longest silence
 */

/**
 * @typedef {object} RangeResponse
 * @property {number} offset of the first byte in the file; 0 when the server ignored the range
 * @property {boolean} whole the server sends the whole file
 * @property {AsyncGenerator<Uint8Array, void, void>} pieces each good until the next; ends after the promised bytes
 * @property {() => void} close ends the connection, if it is still busy
 */

/** Most that is read at once. */
const PIECE_BYTES = 1 << 18;

/** A failure that another attempt may not meet: connection refused, cut or silent, server busy. */
export class TransientError extends Error {
  /** @param {string} message @param {{cause?: unknown, retryAfterMs?: number}} [options] */
  constructor(message, { cause, retryAfterMs = 0 } = {}) {
    super(message, { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Requests bytes [start, end) of a file.
 * @param {FileEntry} file
 * @param {number} start
 * @param {number} end
 * @param {RangeOptions} options
 * @returns {Promise<RangeResponse>}
 * @throws {FeatherweightError} not_found, integrity, network, aborted
 * @throws {TransientError} also while `pieces` is read
 */
export async function requestRange(file, start, end, { fetch, cache, signal, stallMs }) {
  throwIfAborted(signal);
  const connection = new Connection(signal, stallMs);
  try {
    const headers = { Range: `bytes=${start}-${end - 1}` };
    const response = await connection.wait(fetch(file.url, { headers, cache, signal: connection.signal }));
    const range = readHead(response, file, start, end);
    const { offset, whole } = range;
    return { offset, whole, pieces: readBody(connection, response, file, range), close: () => connection.close() };
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** The lifetime of a request: ends with the caller's signal, with a silence, or when closed. */
class Connection {
  #controller = new AbortController();
  #outer;
  #stallMs;
  #onAbort = () => this.#controller.abort(this.#outer.reason);

  /** @param {AbortSignal} outer @param {number} stallMs */
  constructor(outer, stallMs) {
    this.#outer = outer;
    this.#stallMs = stallMs;
    outer.addEventListener("abort", this.#onAbort);
  }

  get signal() {
    return this.#controller.signal;
  }

  close() {
    this.#outer.removeEventListener("abort", this.#onAbort);
    this.#controller.abort();
  }

  /**
   * Waits for the network, but not longer than a stall may last.
   * @template T
   * @param {Promise<T>} arrival
   * @returns {Promise<T>}
   */
  async wait(arrival) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const stall = new Promise((_, reject) => {
      const message = `no byte came for ${this.#stallMs / 1000} s`;
      timer = setTimeout(() => reject(new TransientError(message)), this.#stallMs);
    });
    try {
      return /** @type {T} */ (await Promise.race([arrival, stall]));
    } catch (error) {
      arrival.catch(() => {});
      throwIfAborted(this.#outer);
      throw error instanceof TransientError ? error : new TransientError("the connection broke", { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Checks status and headers.
 * @param {Response} response
 * @param {FileEntry} file
 * @param {number} start
 * @param {number} end
 * @returns {{offset: number, end: number, whole: boolean}} the bytes that the body holds
 */
function readHead(response, file, start, end) {
  const { status, headers } = response;
  const facts = { path: file.path, url: file.url, status };
  if (status === 404 || status === 410) {
    throw new FeatherweightError("not_found", `The server has no file ${file.path} (HTTP ${status}).`, facts);
  }
  if (status === 408 || status === 429 || status >= 500) {
    throw new TransientError(`HTTP ${status}`, { retryAfterMs: 1000 * (Number(headers.get("retry-after")) || 0) });
  }
  if (status === 416) throw wrongLength(file, "shorter");
  if (status !== 200 && status !== 206) {
    throw new FeatherweightError("network", `The server answered HTTP ${status} for ${file.path}.`, facts);
  }
  const contentType = headers.get("content-type") ?? "";
  if (contentType.startsWith("text/html") && !file.path.endsWith(".html")) {
    const message = `The server sent a web page instead of ${file.path}: the file is missing there, or a network's sign-in page stands in between.`;
    throw new FeatherweightError("not_found", message, { ...facts, contentType });
  }
  if (status === 200) {
    const length = headers.get("content-length");
    const plain = !headers.has("content-encoding");
    if (plain && length !== null && Number(length) !== file.sizeBytes) throw wrongLength(file, Number(length));
    return { offset: 0, end: file.sizeBytes, whole: true };
  }
  const [, from, to, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers.get("content-range") ?? "") ?? [];
  // Another origin's server may keep Content-Range to itself; the hashes decide then.
  if (from === undefined) return { offset: start, end, whole: false };
  if (total !== "*" && Number(total) !== file.sizeBytes) throw wrongLength(file, Number(total));
  if (Number(from) !== start || Number(to) < start || Number(to) >= end) {
    const message = `The server sent bytes ${from}-${to} of ${file.path} when asked for ${start}-${end - 1}.`;
    throw new FeatherweightError("network", message, facts);
  }
  return { offset: start, end: Number(to) + 1, whole: false };
}

/**
 * @param {Connection} connection
 * @param {Response} response
 * @param {FileEntry} file
 * @param {{offset: number, end: number, whole: boolean}} range
 * @returns {AsyncGenerator<Uint8Array, void, void>}
 */
async function* readBody(connection, response, file, { offset, end, whole }) {
  const read = bodyReader(/** @type {ReadableStream<Uint8Array>} */ (response.body));
  let at = offset;
  for (;;) {
    const value = await connection.wait(read());
    if (!value) break;
    if (whole && at + value.length > end) throw wrongLength(file, "longer");
    // What a 206 sends beyond its own range is dropped; waiting for its end lets the connection be used again.
    if (at < end) yield at + value.length > end ? value.subarray(0, end - at) : value;
    at += value.length;
  }
  if (at < end) throw whole ? wrongLength(file, at) : new TransientError("the answer ended early");
}

/**
 * Reads a body into one buffer that is used again and again, where the browser can: fresh ones for every piece would
 * pile up by the hundred megabytes until they are collected.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {() => Promise<Uint8Array | undefined>} the next piece, good until the next call
 */
function bodyReader(body) {
  try {
    const reader = body.getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(PIECE_BYTES);
    return async () => {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (value) buffer = value.buffer;
      return done ? undefined : value;
    };
  } catch {
    const reader = body.getReader();
    return async () => (await reader.read()).value;
  }
}

/** @param {FileEntry} file @param {number | "shorter" | "longer"} actual */
function wrongLength({ path, url, sizeBytes }, actual) {
  const found = typeof actual === "number" ? `has ${actual} bytes` : `is ${actual}`;
  const message = `${path} ${found} on the server; the manifest says ${sizeBytes} bytes. The model on the server is damaged or was replaced.`;
  return new FeatherweightError("integrity", message, { path, url, expected: sizeBytes, actual });
}
