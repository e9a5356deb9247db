/** Owns the choice of the store and the words that all stores share. */
import { CacheStore } from "./cache_store.js";
import { MemoryStore } from "./memory_store.js";
import { OpfsStore } from "./opfs_store.js";

/** @typedef {import("../../manifest/manifest.js").FileEntry} FileEntry */

/**
 * What identifies a stored file: its content. The same content under two paths is stored once.
 * @typedef {Pick<FileEntry, "sha256" | "sizeBytes">} Content
 */

/**
 * Chunks on this device. A store takes only verified chunks, and trusts itself no further than that: readers verify
 * again.
 * @typedef {object} Store
 * @property {"opfs" | "cache" | "memory"} kind "memory" is gone with the worker
 * @property {(file: Content, chunkSize: number, options?: {signal?: AbortSignal}) => Promise<StoredFile>} open for
 *   this caller alone: waits while another tab, or another caller, has it open
 * @property {(file: Content, chunkSize: number) => Promise<FileStatus>} status needs no lock
 * @property {(sha256: string) => Promise<void>} remove throws "store" when the file is in use
 * @property {() => Promise<StoredContent[]>} list
 * @property {() => Promise<{usedBytes: number}>} usage of this store alone
 * @property {(wantedBytes: number) => Promise<number | null>} freeBytes tries whether so much more fits:
 *   `wantedBytes`, or about how much less does; null when only writing would tell
 */

/**
 * @typedef {object} StoredFile
 * @property {(index: number) => boolean} has
 * @property {(index: number, bytes: Uint8Array) => Promise<void>} write throws "quota" or "store"; keeps no reference
 *   to `bytes`
 * @property {(index: number, into: Uint8Array) => Promise<Uint8Array>} read fills `into`, a chunk long; returns what
 *   was there: less than that when damaged
 * @property {(index: number) => Promise<void>} drop forgets a chunk that proved wrong
 * @property {() => Promise<void>} close may be called again
 */

/** @typedef {{presentBytes: number, complete: boolean, missing: number[]}} FileStatus */
/** @typedef {{sha256: string, sizeBytes: number, complete: boolean}} StoredContent */

/**
 * What a store needs of the browser.
 * @typedef {object} Platform
 * @property {Pick<StorageManager, "getDirectory"> | undefined} storage
 * @property {CacheStorage | undefined} caches
 * @property {LockManager | undefined} locks
 */

/** @returns {Platform} what the context that runs this has; plain http from another machine hides all of it */
function ambientPlatform() {
  return { storage: globalThis.navigator?.storage, caches: globalThis.caches, locks: globalThis.navigator?.locks };
}

/**
 * The best store that works here: the origin private file system (dedicated workers only), else the Cache API, else
 * memory. Each is tried, not guessed: private windows offer functions that then refuse to work.
 * @param {Platform} [platform]
 * @returns {Promise<Store>}
 */
export async function openStore(platform = ambientPlatform()) {
  return (await OpfsStore.tryOpen(platform)) ?? (await CacheStore.tryOpen(platform)) ?? new MemoryStore();
}
