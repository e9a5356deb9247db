/** Owns the way of manifest.json into the page: fetched, bounded, and held to the hash in its address. */

import { FeatherweightError, throwIfAborted } from "../errors.js";
import { sha256Hex } from "../sha256.js";
import { parseManifest } from "./manifest.js";

/** @typedef {import("./manifest.js").Manifest} Manifest */

const LIMIT_BYTES = 8 << 20;

/**
 * Fetches, bounds, checks and freezes a manifest. Where the URL's revision is a content hash
 * (`/{model}/resolve/{sha256}/manifest.json`), the bytes must have that hash.
 * @param {string | URL} url relative URLs are taken against the page or worker
 * @param {{signal?: AbortSignal, fetch?: typeof globalThis.fetch}} [options]
 * @returns {Promise<Manifest>}
 * @throws {FeatherweightError} bad_manifest, integrity, network, not_found, aborted
 */
export async function loadManifest(url, { signal, fetch = globalThis.fetch } = {}) {
  const absolute = new URL(url, globalThis.location?.href).href;
  throwIfAborted(signal);
  let bytes;
  try {
    const response = await fetch(absolute, { signal });
    checkResponse(response, absolute);
    bytes = await readBounded(response, absolute);
  } catch (error) {
    throwIfAborted(signal);
    if (error instanceof FeatherweightError) throw error;
    const hint = globalThis.navigator?.onLine === false ? "This device is offline" : "The server cannot be reached";
    throw new FeatherweightError(
      "network",
      `${hint}: ${absolute} was not loaded.`,
      { url: absolute },
      { cause: error },
    );
  }
  await checkRevision(absolute, bytes);
  return parseManifest(new TextDecoder().decode(bytes), absolute);
}

/** @param {Response} response @param {string} url */
function checkResponse(response, url) {
  const { status } = response;
  const contentType = response.headers.get("content-type") ?? "";
  if (status === 404 || status === 410) {
    throw new FeatherweightError("not_found", `The server has no manifest at ${url} (HTTP ${status}).`, {
      url,
      status,
    });
  }
  if (!response.ok) {
    throw new FeatherweightError("network", `The server answered HTTP ${status} for ${url}.`, { url, status });
  }
  if (contentType.startsWith("text/html")) {
    throw new FeatherweightError("bad_manifest", `${url} is a web page, not a manifest.`, { url, contentType });
  }
}

/** @param {Response} response @param {string} url */
async function readBounded(response, url) {
  const tooLong = () =>
    new FeatherweightError("bad_manifest", `${url} is longer than the ${LIMIT_BYTES} bytes a manifest may have.`, {
      url,
    });
  if (Number(response.headers.get("content-length")) > LIMIT_BYTES) {
    await response.body?.cancel();
    throw tooLong();
  }
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const pieces = [];
  let total = 0;
  const reader = response.body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    total += next.value.length;
    if (total > LIMIT_BYTES) {
      await reader?.cancel();
      throw tooLong();
    }
    pieces.push(next.value);
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

/** The SHA-256 that a manifest's address names, null where it names a branch. @param {string} url absolute @returns {string | null} */
export function revisionOf(url) {
  return /\/resolve\/([0-9a-f]{64})\/manifest\.json$/.exec(new URL(url).pathname)?.[1] ?? null;
}

/** @param {string} url @param {Uint8Array} bytes */
async function checkRevision(url, bytes) {
  const expected = revisionOf(url);
  if (!expected) return;
  const actual = await sha256Hex(bytes);
  if (actual === expected) return;
  const message = `${url} is not the manifest its address names: SHA-256 ${actual} instead of ${expected}.`;
  throw new FeatherweightError("integrity", message, { url, expected, actual });
}
