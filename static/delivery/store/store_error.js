/** Owns the translation of the browser's storage exceptions. */
import { FeatherweightError } from "../../errors.js";

/** Whether the browser gives this origin no more space, not even for an empty file. @param {unknown} error */
export function isFull(error) {
  return error instanceof Error && error.name === "QuotaExceededError";
}

/**
 * @param {unknown} cause
 * @param {string} action "write", "open", ...
 * @param {string} sha256 of the content concerned
 * @returns {FeatherweightError} "quota" or "store"
 */
export function storeError(cause, action, sha256) {
  if (cause instanceof FeatherweightError) return cause;
  if (isFull(cause)) {
    const message =
      "The browser's storage for this site is full. Remove a stored model or free disk space, then try again: what has arrived is kept.";
    return new FeatherweightError("quota", message, { sha256 }, { cause });
  }
  const text = cause instanceof Error ? cause.message : String(cause);
  return new FeatherweightError(
    "store",
    `The browser's storage failed to ${action} a file: ${text}`,
    { sha256, action },
    { cause },
  );
}
