/** Owns what size of model a device carries, by its measured speed and by the memory that a tab may take. Pure. */

import { RUNTIME_BYTES } from "./cost_model.js";
import { SMOOTH_TOKENS_PER_S, memoryLimit } from "./fit.js";

/**
 * The largest model that answers on this device about as fast as people read: its weights in 4 bits, and what keeps
 * larger ones off.
 * @typedef {{bytes: number, limit: "speed" | "memory"}} DeviceClass
 */

/** What a conversation takes for each byte of weights: keys and values, activations. */
const BESIDE_WEIGHTS = 0.15;

/**
 * @param {import("./probe.js").Device} device
 * @returns {DeviceClass | null} null where nothing was measured
 */
export function deviceClass(device) {
  if (!device.rates) return null;
  const rates = device.rates.by_threads.map(({ linear }) => (linear.linear_4bit ?? linear.linear_float).bytes_per_s);
  const atSpeed = Math.max(...rates) / SMOOTH_TOKENS_PER_S;
  const inMemory = (memoryLimit(device).limit - RUNTIME_BYTES) / (1 + BESIDE_WEIGHTS);
  return atSpeed < inMemory ? { bytes: atSpeed, limit: "speed" } : { bytes: Math.max(0, inMemory), limit: "memory" };
}
