/** Owns the one error class of the browser half; a leaf: it imports nothing. */

/**
 * What went wrong, as a word a program can act on.
 *
 * integrity      bytes are not the ones the manifest names, twice
 * quota          the browser gives this origin too little storage
 * network        the server cannot be reached, or answers nonsense
 * unsupported    this browser or device lacks something the model needs
 * out_of_memory  an allocation failed
 * device_lost    the GPU went away
 * aborted        the caller's AbortSignal fired
 * bad_manifest   manifest.json breaks a rule of its format
 * not_found      the server has no such file, or the manifest no such variant
 * store          the local store cannot be used, for another reason than quota
 * @typedef {"integrity" | "quota" | "network" | "unsupported" | "out_of_memory" | "device_lost" | "aborted"
 *   | "bad_manifest" | "not_found" | "store"} ErrorCode
 */

/**
 * A FeatherweightError as plain data, for postMessage: structured clone keeps neither class nor own fields of an
 * Error.
 * @typedef {{code: ErrorCode, message: string, details: Record<string, unknown>, stack?: string}} PlainError
 */

/** Every error that this library throws on purpose. */
export class FeatherweightError extends Error {
  /**
   * @param {ErrorCode} code what went wrong, for programs
   * @param {string} message what, where and what to do, for people: one or two sentences
   * @param {Record<string, unknown>} [details] facts behind the message; structured-cloneable values only
   * @param {{cause?: unknown}} [options] the error that led here
   */
  constructor(code, message, details = {}, options = {}) {
    super(message, options);
    this.name = "FeatherweightError";
    this.code = code;
    this.details = details;
  }

  /** @returns {PlainError} */
  toJSON() {
    return { code: this.code, message: this.message, details: this.details, stack: this.stack };
  }

  /**
   * The inverse of toJSON, on the other side of postMessage.
   * @param {PlainError} plain
   */
  static fromJSON({ code, message, details, stack }) {
    const error = new FeatherweightError(code, message, details);
    if (stack) error.stack = stack;
    return error;
  }

  /**
   * Any thrown value as a FeatherweightError: ours unchanged, an abort as "aborted", the rest under `code`.
   * @param {unknown} thrown
   * @param {ErrorCode} code used when the value itself does not tell
   */
  static from(thrown, code) {
    if (thrown instanceof FeatherweightError) return thrown;
    if (isAbort(thrown)) return new FeatherweightError("aborted", "Stopped.", {}, { cause: thrown });
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new FeatherweightError(code, message, {}, { cause: thrown });
  }
}

/**
 * Throws "aborted" when the signal has fired.
 * @param {AbortSignal | null} [signal]
 */
export function throwIfAborted(signal) {
  if (signal?.aborted) throw new FeatherweightError("aborted", "Stopped.", {}, { cause: signal.reason });
}

/** @param {unknown} thrown */
function isAbort(thrown) {
  return thrown instanceof Error && thrown.name === "AbortError";
}
