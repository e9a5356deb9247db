/** Owns the questions about storage space: asked before the first byte, answered in numbers. */
import { FeatherweightError } from "../errors.js";
import { megabytes } from "./chunks.js";

/** Left over for indexes and the page's own data. */
export const RESERVE_BYTES = 1 << 20;

/** @typedef {Partial<Pick<StorageManager, "estimate" | "persist" | "persisted">>} StorageFacts */

/**
 * How much more the store can take, as far as is told: with RESERVE_BYTES at least `neededBytes`, or less than that.
 *
 * Two questions: `estimate()`, and a trial by the store itself, because Chromium's estimate is by now a constant that
 * says nothing about the limit it enforces (usage + min(10 GiB, disk size), policy StaticStorageQuotaEnabled). Where
 * neither can tell, the write that does not fit fails.
 * @param {number} neededBytes
 * @param {StorageFacts | undefined} storage `navigator.storage`
 * @param {Pick<import("./store/store.js").Store, "freeBytes">} store
 * @returns {Promise<number>} bytes; Infinity where nothing says
 */
export async function spaceFor(neededBytes, storage, store) {
  const { quota, usage } = (await storage?.estimate?.().catch(() => null)) ?? {};
  const wantedBytes = neededBytes + RESERVE_BYTES;
  const told = quota === undefined || usage === undefined ? Infinity : Math.max(0, quota - usage);
  if (told < wantedBytes) return told;
  const found = (await store.freeBytes(wantedBytes)) ?? Infinity;
  return found < wantedBytes ? found : told;
}

/**
 * Whether a model runs although the rest of it cannot be stored: where most of it is here already, the store is full
 * because of it (private windows let a trial pass and are full later), and what is missing comes over the network.
 * @param {number} presentBytes
 * @param {number} missingBytes
 */
export function runsBeyondStore(presentBytes, missingBytes) {
  return missingBytes <= presentBytes;
}

/**
 * Throws "quota" when there is not this much space left for the store.
 * @param {number} neededBytes
 * @param {StorageFacts | undefined} storage `navigator.storage`
 * @param {Pick<import("./store/store.js").Store, "freeBytes">} store
 */
export async function ensureSpace(neededBytes, storage, store) {
  if (neededBytes === 0) return;
  const availableBytes = await spaceFor(neededBytes, storage, store);
  if (availableBytes >= neededBytes + RESERVE_BYTES) return;
  const message =
    `Not enough storage: ${megabytes(neededBytes)} are needed, and the browser gives this site ${megabytes(availableBytes)} more. ` +
    "Remove a stored model or free disk space, then try again.";
  throw new FeatherweightError("quota", message, { neededBytes, availableBytes });
}

/**
 * Asks the browser not to evict this origin's files. Browsers expose the question to pages only, not to workers, and
 * may show it to the user: call it from the page, when the user starts a download.
 * @param {StorageFacts | undefined} [storage]
 * @returns {Promise<boolean>} whether the files are safe from eviction
 */
export async function requestPersistence(storage = globalThis.navigator?.storage) {
  try {
    return (await storage?.persisted?.()) || ((await storage?.persist?.()) ?? false);
  } catch {
    return false;
  }
}
