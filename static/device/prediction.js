/** Owns what is expected of a run before it happens: quantities with intervals, from rates, cost and earlier receipts. */

import { decodeSeconds, encodeSeconds, engineBytes, firstTokenSeconds, roomFor, startSeconds } from "./cost_model.js";
import { PUBLISHED_SCORES } from "./calibration.js";
import { conformalFactor, interval, score } from "./intervals.js";
import { gpuRates, ratesFor } from "./rates.js";

/**
 * @typedef {import("../manifest/manifest.js").Manifest} Manifest
 * @typedef {import("../manifest/manifest.js").Variant} Variant
 * @typedef {import("./rates.js").Rates} Rates
 * @typedef {import("./receipts.js").Receipt} Receipt
 */

/** The quantities that are predicted and measured. */
export const METRICS = Object.freeze(
  /** @type {const} */ (["load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes"]),
);
/** @typedef {(typeof METRICS)[number]} Metric */

/** Expected value and the interval around it. @typedef {{expected: number, interval: [number, number]}} Prediction */
/** null where a model of that kind has no such quantity. @typedef {Record<Metric, Prediction | null>} Predictions */

/**
 * What a run is asked to do.
 * @typedef {object} Workload
 * @property {string} [backend] "wasm" (our engine) by default, or "ort-webgpu" where the GPU was measured
 * @property {number} threads
 * @property {number} contextLength tokens that the KV cache may come to hold
 * @property {number} promptTokens of all texts
 * @property {number} [texts] that an encoder reads, 1 by default
 * @property {number} past tokens in the cache while the answer is made; of an encoder-decoder those of the text
 */

/** Receipts of so many other models correct what is expected of a new one. */
const ENOUGH_RECEIPTS = 3;

/**
 * What the rates and the cost say, uncorrected.
 * @param {{manifest: Manifest, variant: Variant, rates: Rates, workload: Workload, remainingBytes: number, downloadBytesPerSecond: number | null}} facts
 * @returns {Record<Metric, number | null>}
 */
export function rawPrediction({ manifest, variant, rates, workload, remainingBytes, downloadBytesPerSecond }) {
  const { model } = manifest;
  const { backend = "wasm", threads, contextLength, promptTokens, past, texts = 1 } = workload;
  const own = backend === "wasm";
  const measured = (own ? null : gpuRates(rates)) ?? ratesFor(rates, threads);
  const { cost } = variant;
  const ready = startSeconds(variant, rates);
  const download = remainingBytes === 0 ? 0 : downloadBytesPerSecond ? remainingBytes / downloadBytesPerSecond : null;
  const shared = {
    // Weights are repacked while they arrive: the slower of the two decides.
    load_s: download === null || !own ? null : Math.max(download, ready),
    peak_memory_bytes: own ? engineBytes(variant, roomFor(model, variant, contextLength)) : null,
  };
  if (!model.kvCache) {
    const seconds = encodeSeconds(cost, measured, { texts, tokens: promptTokens / texts });
    return { ...shared, time_to_first_token_s: seconds, prefill_tokens_per_s: promptTokens / seconds, decode_tokens_per_s: null };
  }
  if (variant.encoder) {
    // The cache holds the text; an answer begins with one token.
    const first = decodeSeconds(cost, measured, { past: 0, text: promptTokens, vocabSize: model.vocabSize });
    const seconds = encodeSeconds(variant.encoder.cost, measured, { texts: 1, tokens: promptTokens }) + first;
    const decode = decodeSeconds(cost, measured, { past: 0, text: past, vocabSize: model.vocabSize });
    return { ...shared, time_to_first_token_s: seconds, prefill_tokens_per_s: promptTokens / seconds, decode_tokens_per_s: 1 / decode };
  }
  const prefill = firstTokenSeconds(cost, measured, { promptTokens, vocabSize: model.vocabSize });
  return {
    ...shared,
    time_to_first_token_s: prefill + measured.call_s,
    prefill_tokens_per_s: promptTokens / prefill,
    decode_tokens_per_s: 1 / decodeSeconds(cost, measured, { past, vocabSize: model.vocabSize }),
  };
}

/**
 * Corrects by what runs on this device turned out to be, and puts an interval around each quantity.
 * @param {Record<Metric, number | null>} raw
 * @param {readonly Receipt[]} receipts of this device, the newest last
 * @param {{id: string, dtype: string, backend: string, threads: number}} run
 * @returns {Predictions}
 */
export function predictFrom(raw, receipts, run) {
  const sameKind = receipts.filter((receipt) => isOfEncoder(receipt.raw) === isOfEncoder(raw) && isOfGpu(receipt) === isOfGpu(run));
  const sameWay = sameKind.filter(({ backend, threads }) => backend === run.backend && threads === run.threads);
  const sameModel = sameWay.filter(({ model, dtype }) => model === run.id && dtype === run.dtype);
  /** @param {Metric} metric @returns {Prediction | null} */
  const predict = (metric) => {
    const value = raw[metric];
    if (value === null) return null;
    const expected = value * correction(metric, sameModel, sameWay);
    const own = sameKind.flatMap(({ predicted, measured }) => pairOf(predicted[metric]?.expected, measured[metric], score));
    return { expected, interval: interval(expected, conformalFactor([...(isOfGpu(run) ? [] : PUBLISHED_SCORES[metric]), ...own])) };
  };
  return /** @type {Predictions} */ (Object.fromEntries(METRICS.map((metric) => [metric, predict(metric)])));
}

/** No runs on GPUs have been published. @param {{backend: string}} run */
function isOfGpu({ backend }) {
  return backend === "ort-webgpu";
}

/** Encoders write nothing: theirs are other errors than decoders'. @param {Record<Metric, number | null>} raw */
function isOfEncoder(raw) {
  return raw.decode_tokens_per_s === null;
}

/**
 * The middle ratio of measurement to uncorrected prediction: of this very model where it ran before, else of the others.
 * @param {Metric} metric
 * @param {readonly Receipt[]} sameModel
 * @param {readonly Receipt[]} sameWay
 */
function correction(metric, sameModel, sameWay) {
  /** @param {readonly Receipt[]} receipts */
  const ratios = (receipts) =>
    receipts.flatMap(({ raw, measured }) => pairOf(raw[metric], measured[metric], (before, after) => after / before));
  const own = ratios(sameModel);
  if (own.length > 0) return median(own);
  const others = ratios(sameWay);
  return others.length >= ENOUGH_RECEIPTS ? median(others) : 1;
}

/**
 * @param {number | null | undefined} predicted
 * @param {number | null} measured
 * @param {(predicted: number, measured: number) => number} combine
 * @returns {number[]} one, or none where either is missing
 */
function pairOf(predicted, measured, combine) {
  return predicted && measured ? [combine(predicted, measured)] : [];
}

/** @param {number[]} values at least one */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

