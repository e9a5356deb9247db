/** Owns the exclusive use of a stored file, among the tabs of this origin and among the callers of one worker. */
import { FeatherweightError, throwIfAborted } from "../../errors.js";

/** How long a holder may show no progress before those who wait give up. */
const PATIENCE_MS = 60_000;
const LOCK_PREFIX = "featherweight-store/";

/**
 * Waits for the lock of a file, as long as its holder gets on with it. The browser frees the lock when the holder's
 * tab dies.
 * @param {LockManager | undefined} locks without one (very old browsers) nothing is locked
 * @param {string} sha256
 * @param {object} options
 * @param {AbortSignal} [options.signal]
 * @param {() => Promise<number>} options.progress changes while the holder works: its stored bytes
 * @param {number} [options.patienceMs]
 * @returns {Promise<() => void>} frees the lock
 * @throws {FeatherweightError} store, aborted
 */
export async function acquireFileLock(locks, sha256, { signal, progress, patienceMs = PATIENCE_MS }) {
  throwIfAborted(signal);
  if (!locks) return () => {};
  for (let last = await progress(); ;) {
    const release = await requestLock(locks, sha256, signal, patienceMs);
    if (release) return release;
    throwIfAborted(signal);
    const now = await progress();
    if (now === last) {
      const message =
        "Another tab of this site holds a file of this model and makes no progress. Close that tab, then try again.";
      throw new FeatherweightError("store", message, { sha256 });
    }
    last = now;
  }
}

/**
 * Frees at once or not at all.
 * @param {LockManager | undefined} locks
 * @param {string} sha256
 * @returns {Promise<() => void>}
 * @throws {FeatherweightError} store when the file is in use
 */
export async function acquireFileLockNow(locks, sha256) {
  if (!locks) return () => {};
  /** @type {() => void} */
  let release = () => {};
  const held = new Promise((resolve) => (release = () => resolve(undefined)));
  const granted = await new Promise((resolve, reject) => {
    const use = (/** @type {Lock | null} */ lock) => (resolve(lock !== null), lock && held);
    locks.request(lockName(sha256), { ifAvailable: true }, use).catch(reject);
  });
  if (granted) return release;
  throw new FeatherweightError("store", "This model is in use in another tab. Close that tab, then try again.", {
    sha256,
  });
}

/** Whether any stored file is in use, in whichever tab. @param {LockManager | undefined} locks */
export async function isAnyLocked(locks) {
  const { held = [] } = (await locks?.query()) ?? {};
  return held.some(({ name }) => name?.startsWith(LOCK_PREFIX));
}

/**
 * @param {LockManager} locks
 * @param {string} sha256
 * @param {AbortSignal | undefined} signal
 * @param {number} patienceMs
 * @returns {Promise<(() => void) | null>} null when the lock did not come in time, or the signal fired
 */
async function requestLock(locks, sha256, signal, patienceMs) {
  const waiting = new AbortController();
  const giveUp = () => waiting.abort();
  const timer = setTimeout(giveUp, patienceMs);
  signal?.addEventListener("abort", giveUp);
  try {
    return await new Promise((resolve, reject) => {
      const use = () => new Promise((release) => resolve(() => release(undefined)));
      locks.request(lockName(sha256), { signal: waiting.signal }, use).catch(reject);
    });
  } catch (error) {
    if (waiting.signal.aborted) return null;
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", giveUp);
  }
}

/** @param {string} sha256 */
function lockName(sha256) {
  return LOCK_PREFIX + sha256;
}
