/** Owns what is asked about whole variants: bring one into the store, say how much of it is there, remove it. */
import { Delivery, distinctFiles } from "./delivery.js";
import { removableContents } from "./plan.js";
import { RESERVE_BYTES, spaceFor } from "./quota.js";
import { isAnyLocked } from "./store/file_lock.js";

/** @typedef {import("../manifest/manifest.js").Manifest} Manifest */
/** @typedef {import("./store/store.js").Store} Store */

/**
 * Brings every chunk of these files into the store: what is missing is fetched by ranges, in parallel, in the order
 * of `paths`. After any error, and after the death of the tab, the stored chunks stay and the next call fetches the rest.
 * @param {Manifest} manifest
 * @param {readonly string[]} paths
 * @param {Store} store
 * @param {import("./delivery.js").DeliveryOptions} [options]
 * @returns {Promise<{networkBytes: number}>}
 * @throws {FeatherweightError} integrity, quota, network, not_found, aborted, store
 */
export async function fetchFiles(manifest, paths, store, options) {
  const delivery = await Delivery.open(manifest, paths, store, options);
  try {
    await delivery.fetch(paths);
  } finally {
    delivery.close();
  }
  return { networkBytes: delivery.networkBytes };
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
 * What of a model is stored, and how much more can be.
 * @param {Manifest} manifest
 * @param {Store} store
 * @param {LockManager} [locks]
 * @returns {Promise<{presentBytes: Record<string, number>, freeBytes: number | null}>} by dtype; null: only writing
 *   would tell, or it cannot be tried now without taking the space from a download under way
 * @throws {FeatherweightError} store
 */
export async function storageFacts(manifest, store, locks = globalThis.navigator?.locks) {
  const rows = await Promise.all(manifest.variants.map(({ dtype }) => variantStatus(manifest, dtype, store)));
  const presentBytes = Object.fromEntries(manifest.variants.map(({ dtype }, at) => [dtype, rows[at].presentBytes]));
  const missing = Math.max(...rows.map((row) => row.totalBytes - row.presentBytes));
  if (missing === 0 || store.kind === "memory" || (await isAnyLocked(locks))) return { presentBytes, freeBytes: null };
  const freeBytes = (await spaceFor(missing, globalThis.navigator?.storage, store)) - RESERVE_BYTES;
  return { presentBytes, freeBytes: Number.isFinite(freeBytes) ? Math.max(0, freeBytes) : null };
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
