/** Owns the opening of files of the origin private file system for synchronous access (dedicated workers only). */
import { FeatherweightError } from "../../errors.js";

/**
 * The standard's FileSystemSyncAccessHandle, as far as it is used.
 * @typedef {object} SyncHandle
 * @property {(buffer: Uint8Array, options: {at: number}) => number} read
 * @property {(buffer: Uint8Array, options: {at: number}) => number} write
 * @property {(size: number) => void} truncate
 * @property {() => number} getSize
 * @property {() => void} flush
 * @property {() => void} close
 */

/** A file of a tab that has just died may stay locked for a moment after its Web Lock is free. */
const ATTEMPTS = 20;
const PAUSE_MS = 100;

/**
 * Opens a file, created if need be, for this caller alone.
 * @param {FileSystemDirectoryHandle} directory
 * @param {string} name
 * @returns {Promise<SyncHandle>}
 * @throws {FeatherweightError} store, while another holds it
 */
export async function openSyncHandle(directory, name) {
  const file = await directory.getFileHandle(name, { create: true });
  const open = () => /** @type {any} */ (file).createSyncAccessHandle();
  try {
    return await retryWhile("NoModificationAllowedError", open);
  } catch (cause) {
    if (/** @type {Error} */ (cause).name !== "NoModificationAllowedError") throw cause;
    const message = "Another tab of this site holds a file of this model. Close that tab, then try again.";
    throw new FeatherweightError("store", message, { file: name }, { cause });
  }
}

/**
 * Tries again for about two seconds, as long as the exception is the named one.
 * @template T
 * @param {string} exceptionName
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function retryWhile(exceptionName, action) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (/** @type {Error} */ (error).name !== exceptionName || attempt === ATTEMPTS) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
