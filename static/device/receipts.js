/** Owns receipts: predicted beside measured for every run on this device, and the form in which one is shared. */

/**
 * @typedef {import("./prediction.js").Metric} Metric
 * @typedef {import("./prediction.js").Predictions} Predictions
 * @typedef {import("./probe.js").Device} Device
 */

/**
 * @typedef {object} Receipt
 * @property {string} id random UUID
 * @property {string} made_on YYYY-MM-DD
 * @property {string} model
 * @property {string | null} revision null where the model was not loaded by its content hash: such a receipt cannot be shared
 * @property {string} dtype
 * @property {string} backend
 * @property {number} threads
 * @property {number} prompt_tokens of all texts
 * @property {number} [texts] that an encoder read together
 * @property {number} generated_tokens 0 for encoders, whose time to the first token is that of the whole call
 * @property {Predictions} predicted
 * @property {Record<Metric, number | null>} raw before it was corrected by earlier receipts
 * @property {Record<Metric, number | null>} measured
 * @property {boolean} shared whether the user sent it to the server
 */

/** Older ones are dropped: the device, the browser and the engine change. */
const LIMIT = 200;

/** What can be used of a kept history. @param {unknown} kept @returns {Receipt[]} the oldest first */
export function receiptsOf(kept) {
  return Array.isArray(kept) ? kept.filter(isReceipt) : [];
}

/** A history with one more. @param {readonly Receipt[]} receipts @param {Receipt} receipt replaces the one of the same id */
export function withReceipt(receipts, receipt) {
  return [...receipts.filter(({ id }) => id !== receipt.id), receipt].slice(-LIMIT);
}

/**
 * How far off predictions were here, by the speed of answers and the time of encoders' texts: the middle of all errors,
 * and how many measurements lay in their intervals.
 * @param {readonly Receipt[]} receipts
 * @returns {{count: number, median: number, inside: number} | null} null without any
 */
export function runningError(receipts) {
  const pairs = receipts.flatMap(({ predicted, measured }) => {
    const metric = measured.decode_tokens_per_s === null ? "time_to_first_token_s" : "decode_tokens_per_s";
    const [prediction, found] = [predicted[metric], measured[metric]];
    return prediction && found ? [{ prediction, found }] : [];
  });
  if (pairs.length === 0) return null;
  const errors = pairs.map(({ prediction, found }) => Math.abs(prediction.expected / found - 1)).sort((a, b) => a - b);
  const inside = pairs.filter(({ prediction: { interval }, found }) => interval[0] <= found && found <= interval[1]).length;
  return { count: pairs.length, median: errors[errors.length >> 1], inside };
}

/** @param {any} value */
function isReceipt(value) {
  const records = [value?.predicted, value?.raw, value?.measured];
  return typeof value?.id === "string" && typeof value.model === "string" && records.every((item) => item && typeof item === "object");
}

/**
 * The receipt as POST /api/measurements takes it (webapp/measurements/receipt.schema.json): no more of the device than
 * its classes.
 * @param {Receipt} receipt
 * @param {Device} device
 * @param {{userAgent: string}} browser
 */
export function sharedForm(receipt, device, browser) {
  const { id, model, revision, dtype, backend, threads, prompt_tokens, generated_tokens, predicted, measured } = receipt;
  const intervals = Object.entries(predicted).map(([metric, value]) => [
    metric,
    value && [value.interval[0], value.expected, value.interval[1]].every(Number.isFinite) ? [value.interval[0], value.expected, value.interval[1]] : null,
  ]);
  return {
    format: "featherweight-receipt",
    version: 1,
    id,
    model: { id: model, revision, dtype },
    run: { backend, threads, prompt_tokens, generated_tokens },
    device: deviceClass(device, browser),
    predicted: Object.fromEntries(intervals),
    measured,
  };
}

const CORES = [1, 2, 4, 8, 16];
const CORE_CLASSES = ["1", "2", "3-4", "5-8", "9-16", "17+"];
const BANDWIDTHS = [4, 8, 16, 32, 64];
const BANDWIDTH_CLASSES = ["<4", "4-8", "8-16", "16-32", "32-64", "64+"];

/**
 * Coarse classes, so that a receipt does not tell one device from the next.
 * @param {Device} device
 * @param {{userAgent: string}} browser
 */
export function deviceClass({ threads, deviceMemoryGib, rates, wasm, crossOriginIsolated, webgpu }, { userAgent }) {
  const bandwidth = rates && rates.read_bytes_per_s / 1e9;
  return {
    platform: platformOf(userAgent),
    browser: browserOf(userAgent),
    cores: CORE_CLASSES[CORES.filter((limit) => threads > limit).length],
    memory_gib: memoryClass(deviceMemoryGib),
    bandwidth_gb_per_s: bandwidth ? BANDWIDTH_CLASSES[BANDWIDTHS.filter((limit) => bandwidth >= limit).length] : "unknown",
    wasm: wasm.relaxedSimd ? "relaxed_simd" : "simd",
    isolated: crossOriginIsolated,
    gpu: webgpu ? (webgpu.isFallback ? "software" : "hardware") : "none",
  };
}

/** @param {number | null} gib */
function memoryClass(gib) {
  if (gib === null) return "unknown";
  return gib <= 2 ? "<=2" : gib < 8 ? "4" : gib < 16 ? "8" : "16+";
}

/** @param {string} userAgent */
function platformOf(userAgent) {
  // The order matters: Android names Linux, ChromeOS may name both.
  const systems = { CrOS: "chromeos", Android: "android", iPhone: "ios", iPad: "ios", Windows: "windows", "Mac OS": "macos", Linux: "linux" };
  return Object.entries(systems).find(([word]) => userAgent.includes(word))?.[1] ?? "other";
}

/** @param {string} userAgent */
function browserOf(userAgent) {
  const browsers = { "Firefox/": "firefox", "Chrome/": "chromium", "Safari/": "safari" };
  return Object.entries(browsers).find(([word]) => userAgent.includes(word))?.[1] ?? "other";
}
