/** Owns the verdict on a model and a device: pure functions from facts; nothing is measured or fetched here. */

import { FeatherweightError } from "../errors.js";

/**
 * @typedef {import("./probe.js").Device} Device
 * @typedef {import("../manifest/manifest.js").Manifest} Manifest
 * @typedef {import("../manifest/manifest.js").Variant} Variant
 */

/**
 * @typedef {object} Verdict
 * @property {boolean} supported
 * @property {boolean | null} smooth null: not known
 * @property {{bytes: number, remaining_bytes: number, seconds: [number, number] | null}} download `bytes`: the whole
 *   variant; `remaining_bytes`: what is not on this device yet, and what `seconds` is about
 * @property {{need: number, limit: number, basis: string}} memory bytes
 * @property {{need: number, available: number | null}} storage bytes; null: not known
 * @property {[number, number] | null} ttft_s
 * @property {[number, number] | null} decode_tokens_per_s
 * @property {{dtype: string, backend: string, threads: number, context_length: number}} plan
 * @property {string[]} why sentences for people
 */

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** Smallest download first, then those that every backend runs. */
const DTYPE_PREFERENCE = ["q4", "q8", "q4f16", "fp16", "fp32"];

/**
 * @param {Manifest} manifest
 * @param {string} [dtype] without it: the first that the manifest has of q4, q8, q4f16, fp16, fp32
 * @returns {Variant}
 * @throws {FeatherweightError} not_found
 */
export function chooseVariant(manifest, dtype) {
  if (dtype !== undefined) return manifest.variant(dtype);
  const preferred = DTYPE_PREFERENCE.find((name) => manifest.variants.some((variant) => variant.dtype === name));
  if (!preferred) throw new FeatherweightError("not_found", `${manifest.model.name} offers no variant that is known here.`);
  return manifest.variant(preferred);
}

/**
 * All cores of small devices; about the physical ones of larger, whose second hardware threads do not help.
 * @param {number} hardwareThreads
 */
export function defaultThreads(hardwareThreads) {
  const threads = hardwareThreads || 1;
  return threads <= 4 ? threads : Math.min(8, Math.ceil(threads / 2));
}

/** What onnxruntime-web takes without a model: its code, stacks and first pages. */
const RUNTIME_BYTES = 64 * MIB;
/** While a model is loaded, its weights exist twice: as downloaded, and in the runtime (repacked for its kernels). */
const WEIGHT_COPIES = 2;
/** The KV cache of one run is the input of the next: both exist at once, inside the runtime and outside. */
const CACHE_COPIES = 3;
/** Tokens of a prompt that run at once. */
const PREFILL_TOKENS = 128;
/** Of what the device says it has, a tab can count on half. */
const DEVICE_MEMORY_SHARE = 0.5;
/** WebAssembly's 32-bit addresses. */
const ADDRESS_SPACE_BYTES = 4 * GIB;

/**
 * @param {object} facts
 * @param {Device} facts.device
 * @param {Manifest} facts.manifest
 * @param {Variant} facts.variant
 * @param {number} [facts.contextLength] default and upper limit: the model's
 * @param {number} [facts.presentBytes] what of the variant is on this device already
 * @param {string} [facts.backend] "auto" by default
 * @param {number | null} [facts.bytesPerSecond] a rate measured in an earlier download from this server
 * @returns {Verdict}
 */
export function fitVariant({
  device,
  manifest,
  variant,
  contextLength,
  presentBytes = 0,
  backend = "auto",
  bytesPerSecond = null,
}) {
  const { model } = manifest;
  const context = Math.min(contextLength ?? model.contextLength, model.contextLength);
  const need = memoryNeed(variant, model.kvCache ? context : 0);
  const { limit, basis, hint } = memoryLimit(device);
  const remaining = Math.max(0, variant.downloadBytes - presentBytes);
  const available = device.storage && device.storage.quotaBytes - device.storage.usageBytes;
  const seconds = remaining === 0 ? /** @type {[number, number]} */ ([0, 0]) : downloadSeconds(remaining, device, bytesPerSecond);
  const threads = device.crossOriginIsolated && device.wasm.threads ? defaultThreads(device.threads) : 1;

  const runs = device.wasm.simd;
  const fitsMemory = need <= limit;
  const fitsStorage = available === null || remaining <= available;

  const why = [];
  if (!runs) why.push("This browser is too old: it has no WebAssembly SIMD.");
  why.push(
    fitsMemory
      ? `It needs about ${size(need)} of memory, and there is room for ${size(limit)} (${basis}).`
      : `It needs about ${size(need)} of memory, more than the ${size(limit)} there is room for (${basis}).`,
  );
  if (hint) why.push(hint);
  if (remaining === 0) why.push("It is on this device already.");
  else if (presentBytes > 0) why.push(`${size(remaining)} of ${size(variant.downloadBytes)} are still to be downloaded.`);
  else why.push(`The download is ${size(remaining)}.`);
  if (!fitsStorage) why.push(`The browser gives this site only ${size(available ?? 0)} more storage.`);
  if (available === null && remaining > 0) why.push("This browser does not say how much it can store.");
  if (threads === 1 && device.threads > 1) {
    why.push("The page is not cross-origin isolated, so only one processor core can be used.");
  }
  if (seconds === null) why.push("How long the download takes is not known.");
  why.push("Speed is not predicted yet.");

  return {
    supported: runs && fitsMemory && fitsStorage,
    smooth: null,
    download: { bytes: variant.downloadBytes, remaining_bytes: remaining, seconds },
    memory: { need, limit, basis },
    storage: { need: remaining, available },
    ttft_s: null,
    decode_tokens_per_s: null,
    plan: { dtype: variant.dtype, backend, threads, context_length: context },
    why,
  };
}

/**
 * Bytes at the peak: runtime + weights + KV cache of a full context + activations of a part of a prompt.
 * @param {Variant} variant
 * @param {number} cacheTokens
 */
function memoryNeed({ weightBytes, cost }, cacheTokens) {
  return (
    RUNTIME_BYTES +
    WEIGHT_COPIES * weightBytes +
    CACHE_COPIES * cost.kvBytesPerToken * cacheTokens +
    cost.activationBytesPerToken * PREFILL_TOKENS
  );
}

/** @param {Device} device */
function memoryLimit({ deviceMemoryGib }) {
  const room = (deviceMemoryGib ?? Infinity) * GIB * DEVICE_MEMORY_SHARE;
  if (room < ADDRESS_SPACE_BYTES) {
    return { limit: room, basis: `half of the ${deviceMemoryGib} GiB that the browser reports`, hint: null };
  }
  const hint = deviceMemoryGib === null ? "This browser does not say how much memory the device has." : null;
  return { limit: ADDRESS_SPACE_BYTES, basis: "the 4 GiB that WebAssembly can address", hint };
}

/** The browser's guess is capped at 10 Mbit/s, so as not to tell devices apart: from there on it is only a lower bound. */
const DOWNLINK_CAP_MBPS = 10;
const FASTEST_MBPS = 1000;

/**
 * @param {number} bytes
 * @param {Device} device
 * @param {number | null} bytesPerSecond
 * @returns {[number, number] | null}
 */
function downloadSeconds(bytes, { connection }, bytesPerSecond) {
  if (bytesPerSecond) return [bytes / (1.3 * bytesPerSecond), (1.3 * bytes) / bytesPerSecond];
  if (!connection?.downlinkMbps) return null;
  const { downlinkMbps } = connection;
  /** @param {number} mbps */
  const at = (mbps) => (bytes * 8) / (mbps * 1e6);
  const fastest = downlinkMbps >= DOWNLINK_CAP_MBPS ? FASTEST_MBPS : 2 * downlinkMbps;
  return [at(fastest), at(downlinkMbps / 2)];
}

/** @param {number} bytes */
function size(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(bytes / 1e6))} MB`;
}
