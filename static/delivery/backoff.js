/** Owns the waiting between attempts: exponential, with jitter, abortable. */
import { FeatherweightError } from "../errors.js";

/**
 * @typedef {object} RetryPolicy
 * @property {number} attempts failures in a row, without progress between them, before giving up
 * @property {number} baseMs wait after the first failure; doubles with each further one
 * @property {number} capMs longest wait
 */

/** Gives up after about half a minute without a byte. @type {Readonly<RetryPolicy>} */
export const DEFAULT_RETRY = Object.freeze({ attempts: 6, baseMs: 500, capMs: 15_000 });

/**
 * The wait after the n-th failure in a row, between half of the exponential step and all of it, so that clients cut
 * off together do not come back together.
 * @param {number} failures 1 or more
 * @param {RetryPolicy} policy
 * @param {number} random in [0, 1)
 * @returns {number} milliseconds
 */
export function backoffMs(failures, { baseMs, capMs }, random) {
  const step = Math.min(capMs, baseMs * 2 ** (failures - 1));
  return step * (0.5 + random / 2);
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>} rejects with "aborted" as soon as the signal fires
 */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(new FeatherweightError("aborted", "Stopped.", {}, { cause: signal.reason }));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
