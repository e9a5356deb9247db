/** Owns the reading of onnxruntime-web's errors, which are numbers and sentences, as errors of ours. */

import { FeatherweightError } from "../errors.js";

/**
 * What the texts look like: `std::bad_alloc`, "failed to allocate", "Out of memory", "memory access out of bounds" after a
 * failed growth; "device lost", "Device is lost". An exception of C++ that has no text arrives as a bare number (its
 * address): in this runtime that is a failed allocation.
 * @type {readonly [RegExp, "out_of_memory" | "device_lost", string][]}
 */
const KINDS = [
  [/device (is |was )?lost|lost the device|DeviceLost|GPUDevice.*lost/i, "device_lost", "the GPU was lost. Load the model again"],
  [
    /bad_alloc|out of memory|failed to (allocate|grow)|Cannot (allocate|enlarge) memory|Array buffer allocation|Invalid (typed )?array length|RangeError: WebAssembly\.Memory|exceeds the max buffer size|larger than the maximum/i,
    "out_of_memory",
    "there was not enough memory. Try a smaller variant or model, or close other tabs",
  ],
];

/**
 * @param {unknown} thrown
 * @param {string} what the start of the sentence: what failed
 * @returns {FeatherweightError}
 */
export function toFeatherweightError(thrown, what) {
  if (thrown instanceof FeatherweightError) return thrown;
  const reason = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  if (typeof thrown === "number") return failure("out_of_memory", `${what}: there was not enough memory`, reason, thrown);
  for (const [pattern, code, advice] of KINDS) {
    if (pattern.test(reason)) return failure(code, `${what}: ${advice}.`, reason, thrown);
  }
  return failure("unsupported", `${what}: ${reason}`, reason, thrown);
}

/**
 * @param {"out_of_memory" | "device_lost" | "unsupported"} code
 * @param {string} message
 * @param {string} reason
 * @param {unknown} cause
 */
function failure(code, message, reason, cause) {
  return new FeatherweightError(code, message, { reason }, { cause });
}
