/** Owns what is known of this device: facts that the browser tells, and rates once they were measured. */

import { throwIfAborted } from "../errors.js";

/**
 * @typedef {object} WasmFeatures
 * @property {boolean} simd
 * @property {boolean} relaxedSimd
 * @property {boolean} threads
 * @property {boolean} memory64
 */

/**
 * @typedef {object} WebgpuFacts
 * @property {string} vendor
 * @property {string} architecture
 * @property {string} description may be empty: browsers hide it
 * @property {boolean} isFallback whether this is a software renderer
 * @property {string[]} features sorted
 * @property {{maxBufferSize: number, maxStorageBufferBindingSize: number}} limits bytes
 */

/**
 * @typedef {object} Device
 * @property {number} threads what the browser says the device can run at once
 * @property {boolean} secureContext
 * @property {boolean} crossOriginIsolated without it, WebAssembly runs on one thread
 * @property {WasmFeatures} wasm
 * @property {WebgpuFacts | null} webgpu null without an adapter
 * @property {{quotaBytes: number, usageBytes: number, persisted: boolean} | null} storage
 * @property {{downlinkMbps: number, rttMs: number, saveData: boolean} | null} connection what the browser
 *   guesses; null where it does not say, and for a page served by this machine itself
 * @property {number | null} deviceMemoryGib a rounded hint; browsers that give it say 8 at most (newer ones 32)
 * @property {import("./rates.js").Rates | null} rates null until they are measured
 */

/**
 * Only facts: speed is not measured, and memory is never tried out. Takes milliseconds.
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<Device>}
 */
export async function deviceFacts({ signal } = {}) {
  throwIfAborted(signal);
  const [webgpu, storage] = await Promise.all([probeWebgpu(), probeStorage()]);
  throwIfAborted(signal);
  return {
    threads: navigator.hardwareConcurrency || 1,
    secureContext: globalThis.isSecureContext,
    crossOriginIsolated: globalThis.crossOriginIsolated,
    wasm: probeWasm(),
    webgpu,
    storage,
    connection: probeConnection(),
    deviceMemoryGib: /** @type {any} */ (navigator).deviceMemory ?? null,
    rates: null,
  };
}

const MAGIC = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** Type and function sections of one function that takes nothing and returns a v128. */
const RETURNS_V128 = [1, 5, 1, 0x60, 0, 1, 0x7b, 3, 2, 1, 0];
/** i32.const 0, i8x16.splat */
const SPLAT = [0x41, 0, 0xfd, 0x0f];

/** Found by validating a smallest module that needs each. @returns {WasmFeatures} */
export function probeWasm() {
  /** @param {number[]} sections */
  const valid = (sections) => WebAssembly.validate(Uint8Array.from([...MAGIC, ...sections]));
  return {
    simd: valid([...RETURNS_V128, 10, 8, 1, 6, 0, ...SPLAT, 0x0b]),
    // i8x16.relaxed_swizzle
    relaxedSimd: valid([...RETURNS_V128, 10, 15, 1, 13, 0, ...SPLAT, ...SPLAT, 0xfd, 0x80, 2, 0x0b]),
    // A shared memory, and the means to share it.
    threads: valid([5, 4, 1, 3, 1, 1]) && typeof SharedArrayBuffer !== "undefined",
    // A memory with 64-bit addresses.
    memory64: valid([5, 3, 1, 4, 1]),
  };
}

/** @returns {Promise<WebgpuFacts | null>} */
export async function probeWebgpu() {
  const { gpu } = /** @type {any} */ (navigator);
  try {
    const adapter = await gpu?.requestAdapter();
    if (!adapter) return null;
    const { info, limits, features } = adapter;
    return {
      vendor: info?.vendor ?? "",
      architecture: info?.architecture ?? "",
      description: info?.description ?? "",
      // The flag moved from the adapter to its info (WebGPU specification, 2024). SwiftShader does not always set it.
      isFallback: Boolean(info?.isFallbackAdapter ?? adapter.isFallbackAdapter) || info?.architecture === "swiftshader",
      features: [...features].sort(),
      limits: { maxBufferSize: limits.maxBufferSize, maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize },
    };
  } catch {
    // Chromium rejects where the GPU process is off: that is a device without WebGPU.
    return null;
  }
}

async function probeStorage() {
  try {
    const [{ quota = 0, usage = 0 }, persisted] = await Promise.all([
      navigator.storage.estimate(),
      navigator.storage.persisted(),
    ]);
    return { quotaBytes: quota, usageBytes: usage, persisted };
  } catch {
    // Not there outside secure contexts, refused in some private windows.
    return null;
  }
}

/** A page that this machine itself serves does not come over the network that the browser guesses at. */
const OWN_HOST = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/;

function probeConnection() {
  const { connection } = /** @type {any} */ (navigator);
  if (typeof connection?.downlink !== "number" || OWN_HOST.test(location.hostname)) return null;
  return { downlinkMbps: connection.downlink, rttMs: connection.rtt, saveData: Boolean(connection.saveData) };
}
