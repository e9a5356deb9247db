/** Owns the choice and the instantiation of the compiled kernels (wasm_kernels/). */

import { LinearMemory } from "./linear_memory.js";

/**
 * The exports of the module (wasm_kernels/featherweight_kernels.h) and the memory that they work in.
 * @typedef {Record<string, (...args: number[]) => number> & {memory: LinearMemory}} Kernels
 */

/** A module of one function that needs relaxed SIMD: (v128) f32x4.relaxed_madd of zeros. */
const RELAXED_SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0,
  65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
);

/**
 * The build for this browser.
 * @param {boolean} threads whether memory can be shared
 * @returns {string} file name
 */
export function kernelFile(threads) {
  if (!threads) return "kernels_simd.wasm";
  return WebAssembly.validate(RELAXED_SIMD_PROBE) ? "kernels_relaxed_simd_threads.wasm" : "kernels_simd_threads.wasm";
}

/**
 * @param {WebAssembly.Module} module
 * @param {boolean} shared
 * @returns {Promise<Kernels>}
 */
export async function instantiateKernels(module, shared) {
  const memory = new LinearMemory(shared);
  const instance = await WebAssembly.instantiate(module, { env: { memory: memory.memory } });
  memory.top = /** @type {WebAssembly.Global} */ (instance.exports.__heap_base).value;
  return /** @type {Kernels} */ (/** @type {unknown} */ ({ ...instance.exports, memory }));
}
