/** Owns the weighing of one variant against a device: pure functions from facts; nothing is measured or fetched here. */

import { chooseBackends, obstacleTo } from "../backends/registry.js";
import { runsBeyondStore } from "../delivery/quota.js";
import { RUNTIME_BYTES, engineBytes, ortPeakBytes, roomFor } from "./cost_model.js";
import { explain } from "./explanation.js";
import { METRICS, predictFrom, rawPrediction } from "./prediction.js";

/**
 * @typedef {import("./probe.js").Device} Device
 * @typedef {import("./prediction.js").Metric} Metric
 * @typedef {import("./prediction.js").Predictions} Predictions
 * @typedef {import("./receipts.js").Receipt} Receipt
 * @typedef {import("../manifest/manifest.js").Manifest} Manifest
 * @typedef {import("../manifest/manifest.js").Variant} Variant
 */

/**
 * @typedef {object} Weighing
 * @property {boolean} supported
 * @property {boolean | null} smooth fast enough to read along, or to answer within a second; null: not known
 * @property {{bytes: number, remaining_bytes: number, seconds: [number, number] | null}} download `bytes`: the whole
 *   variant; `remaining_bytes`: what is not on this device yet, and what `seconds` is about
 * @property {{need: number, limit: number, basis: string}} memory bytes
 * @property {{need: number, available: number | null}} storage bytes; null: not known
 * @property {[number, number] | null} load_s from the click to ready, the download included
 * @property {[number, number] | null} ttft_s for a prompt of `plan.prompt_tokens`
 * @property {[number, number] | null} decode_tokens_per_s with `plan.past_tokens` in the KV cache
 * @property {Record<Metric, number | null> | null} expected the middles of the intervals
 * @property {string} basis what the speed is predicted from: "probe", "ghost run", "earlier runs here" or "nothing"
 * @property {{dtype: string, backend: string, threads: number, context_length: number, prompt_tokens: number, past_tokens: number}} plan
 * @property {string[]} why sentences for people
 */

const GIB = 2 ** 30;

/**
 * All cores of small devices; about the physical ones of larger, whose second hardware threads do not help.
 * @param {number} hardwareThreads
 */
export function defaultThreads(hardwareThreads) {
  const threads = hardwareThreads || 1;
  return threads <= 4 ? threads : Math.min(8, Math.ceil(threads / 2));
}

/** Of what the device says it has, a tab can count on half. */
const DEVICE_MEMORY_SHARE = 0.5;
/** WebAssembly's 32-bit addresses. */
const ADDRESS_SPACE_BYTES = 4 * GIB;
/** About as fast as people read. */
export const SMOOTH_TOKENS_PER_S = 7;
/** What people wait for an answer to begin, and for a search. */
const SMOOTH_FIRST_TOKEN_S = { decoder: 5, encoder: 1 };
const PROMPT_TOKENS = 128;

/**
 * @typedef {object} FitFacts
 * @property {Device} device
 * @property {Manifest} manifest
 * @property {Variant} variant
 * @property {number} [contextLength] default and upper limit: the model's
 * @property {number} [promptTokens] 128 by default
 * @property {number} [presentBytes] what of the variant is on this device already
 * @property {number | null} [freeBytes] how much more the store can take, where it was tried; else the browser's estimate
 * @property {string} [backend] "auto" by default
 * @property {number} [threads] by the device's cores
 * @property {readonly Receipt[]} [receipts] of earlier runs on this device
 * @property {Record<Metric, number | null> | null} [ghost] what a ghost run measured, in place of what the probe says
 */

/** @param {FitFacts} facts @returns {Weighing} */
export function fitVariant({
  device,
  manifest,
  variant,
  contextLength,
  promptTokens = PROMPT_TOKENS,
  presentBytes = 0,
  freeBytes = null,
  backend = "auto",
  threads: askedThreads,
  receipts = [],
  ghost = null,
}) {
  const { model } = manifest;
  const context = Math.min(contextLength ?? model.contextLength, model.contextLength);
  const prompt = Math.min(promptTokens, context);
  const parallel = device.crossOriginIsolated && device.wasm.threads;
  const threads = parallel ? (askedThreads ?? defaultThreads(device.threads)) : 1;
  const remaining = Math.max(0, variant.downloadBytes - presentBytes);
  const plan = { dtype: variant.dtype, backend, threads, context_length: context, prompt_tokens: prompt, past_tokens: prompt };
  const taken = backendFor(backend, device, variant);
  const own = taken === "wasm";
  const room = roomFor(model, variant, context);
  const raw = own || (taken === "ort-webgpu" && device.rates?.gpu) ? rawFor({ device, manifest, variant, remaining }, { ...plan, backend: taken }, own ? ghost : null) : null;
  const predictions = raw && predictFrom(raw, receipts, { id: model.id, dtype: variant.dtype, backend: taken, threads });

  const need = Math.round(own ? RUNTIME_BYTES + (predictions?.peak_memory_bytes?.expected ?? engineBytes(variant, room)) : ortPeakBytes(variant, room.cacheTokens));
  const { limit, basis, hint } = memoryLimit(device);
  const available = freeBytes ?? (device.storage && device.storage.quotaBytes - device.storage.usageBytes);
  const seconds = downloadSeconds(remaining, device);
  const runs = device.wasm.simd;
  const fitsMemory = need <= limit;
  const keepsAll = available === null || remaining <= available;
  const fitsStorage = keepsAll || runsBeyondStore(presentBytes, remaining);
  const smooth = predictions && isSmooth(predictions);
  const verdict = {
    supported: runs && fitsMemory && fitsStorage,
    smooth,
    download: { bytes: variant.downloadBytes, remaining_bytes: remaining, seconds },
    memory: { need, limit, basis },
    storage: { need: remaining, available },
    load_s: known(predictions?.load_s),
    ttft_s: known(predictions?.time_to_first_token_s),
    decode_tokens_per_s: known(predictions?.decode_tokens_per_s),
    expected: predictions && /** @type {Record<Metric, number | null>} */ (
      Object.fromEntries(METRICS.map((metric) => [metric, predictions[metric]?.expected ?? null]))
    ),
    basis: raw === null ? "nothing" : ghost ? "ghost run" : receipts.some(({ model: id }) => id === model.id) ? "earlier runs here" : "probe",
    plan,
    why: /** @type {string[]} */ ([]),
  };
  verdict.why = explain(verdict, { device, taken, gpuObstacle: obstacleTo("ort-webgpu", { simd: runs, webgpu: device.webgpu }, variant), runs, fitsMemory, fitsStorage, keepsAll, hint, presentBytes });
  return verdict;
}

/** The backend that "auto" takes first, or the one that was asked for. @param {string} backend @param {Device} device @param {Variant} variant */
function backendFor(backend, { wasm, webgpu }, variant) {
  try {
    return chooseBackends(backend, { simd: wasm.simd, webgpu }, variant)[0].name;
  } catch {
    return backend; // the reason is told by what the device lacks
  }
}

/**
 * @param {{device: Device, manifest: Manifest, variant: Variant, remaining: number}} facts
 * @param {Weighing["plan"]} plan
 * @param {Record<Metric, number | null> | null} ghost
 * @returns {Record<Metric, number | null> | null} null where nothing was measured
 */
function rawFor({ device, manifest, variant, remaining }, plan, ghost) {
  if (!device.rates) return null;
  const raw = rawPrediction({
    manifest,
    variant,
    rates: device.rates,
    remainingBytes: remaining,
    downloadBytesPerSecond: device.rates.download_bytes_per_s,
    workload: { backend: plan.backend, threads: plan.threads, contextLength: plan.context_length, promptTokens: plan.prompt_tokens, past: plan.past_tokens },
  });
  return ghost ? { ...raw, ...Object.fromEntries(Object.entries(ghost).filter(([, value]) => value !== null)) } : raw;
}

/** An interval without an end is none. @param {import("./prediction.js").Prediction | null} [prediction] */
function known(prediction) {
  return prediction && Number.isFinite(prediction.interval[1]) ? prediction.interval : null;
}

/** @param {Predictions} predictions @returns {boolean | null} null where nobody knows how far off they are */
function isSmooth({ time_to_first_token_s: first, decode_tokens_per_s: decode }) {
  if (!known(first)) return null;
  const limit = decode ? SMOOTH_FIRST_TOKEN_S.decoder : SMOOTH_FIRST_TOKEN_S.encoder;
  return (first?.expected ?? Infinity) <= limit && (!decode || decode.expected >= SMOOTH_TOKENS_PER_S);
}

/** @param {Device} device */
export function memoryLimit({ deviceMemoryGib }) {
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
/** A rate measured over a moment may be off by so much over a long download. */
const RATE_TOLERANCE = 1.3;

/**
 * @param {number} bytes
 * @param {Device} device
 * @returns {[number, number] | null}
 */
function downloadSeconds(bytes, { connection, rates }) {
  if (bytes === 0) return [0, 0];
  const measured = rates?.download_bytes_per_s;
  if (measured) return [bytes / (RATE_TOLERANCE * measured), (RATE_TOLERANCE * bytes) / measured];
  if (!connection?.downlinkMbps) return null;
  const { downlinkMbps } = connection;
  /** @param {number} mbps */
  const at = (mbps) => (bytes * 8) / (mbps * 1e6);
  const fastest = downlinkMbps >= DOWNLINK_CAP_MBPS ? FASTEST_MBPS : 2 * downlinkMbps;
  return [at(fastest), at(downlinkMbps / 2)];
}
