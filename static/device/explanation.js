/** Owns the sentences that say why a verdict is what it is. */

/**
 * @typedef {import("./probe.js").Device} Device
 * @typedef {import("./fit.js").Weighing} Weighing
 */

/**
 * @param {Weighing} weighing
 * @param {{device: Device, taken: string, gpuObstacle: string | null, runs: boolean, fitsMemory: boolean, fitsStorage: boolean, keepsAll: boolean, hint: string | null, presentBytes: number}} facts
 * @returns {string[]}
 */
export function explain(weighing, { device, taken, gpuObstacle, runs, fitsMemory, fitsStorage, keepsAll, hint, presentBytes }) {
  const { memory, download, storage, plan, decode_tokens_per_s: decode, ttft_s: first, basis, expected } = weighing;
  const why = [];
  if (!runs) why.push("This browser is too old: it has no WebAssembly SIMD.");
  why.push(
    fitsMemory
      ? `It needs about ${size(memory.need)} of memory, and there is room for ${size(memory.limit)} (${memory.basis}).`
      : `It needs about ${size(memory.need)} of memory, more than the ${size(memory.limit)} there is room for (${memory.basis}).`,
  );
  if (hint) why.push(hint);
  if (download.remaining_bytes === 0) why.push("It is on this device already.");
  else if (presentBytes > 0) why.push(`${size(download.remaining_bytes)} of ${size(download.bytes)} are still to be downloaded.`);
  else why.push(`The download is ${size(download.remaining_bytes)}.`);
  if (!fitsStorage) why.push(`The browser gives this site only ${size(storage.available ?? 0)} more storage.`);
  else if (!keepsAll) why.push(`${size(download.remaining_bytes)} of it cannot be kept here: they are downloaded at every visit.`);
  if (storage.available === null && download.remaining_bytes > 0) why.push("This browser does not say how much it can store.");
  if (plan.threads === 1 && device.threads > 1 && !(device.crossOriginIsolated && device.wasm.threads)) {
    why.push("The page is not cross-origin isolated, so only one processor core can be used.");
  }
  if (device.rates && device.rates.share_of_time < 1) {
    why.push(`While it was measured, other programs or a limit took ${Math.round(100 * (1 - device.rates.share_of_time))} % of the processor's time.`);
  }
  if (device.webgpu?.isFallback) why.push("Its WebGPU is a software renderer, slower than WebAssembly: models run on the processor unless you choose otherwise.");
  else if (device.webgpu && gpuObstacle && plan.backend !== "wasm") why.push(`The GPU does not run this: ${gpuObstacle}.`);
  if (download.seconds === null) why.push("How long the download takes is not known.");
  if (first && decode) {
    why.push(`An answer to ${plan.prompt_tokens} tokens begins after ${span(first)} s and goes on at ${span(decode)} tokens a second (${BASES[basis]}).`);
  } else if (first) {
    why.push(`A text of ${plan.prompt_tokens} tokens takes ${span(first)} s (${BASES[basis]}).`);
  } else if (expected) {
    const rate = expected.decode_tokens_per_s;
    const gives = rate ? `${round(rate)} tokens a second` : `${round(expected.time_to_first_token_s ?? 0)} s for ${plan.prompt_tokens} tokens`;
    why.push(`By what was measured on this GPU it gives about ${gives}; no runs have told yet how far off that is.`);
  } else if (taken === "ort-webgpu" && device.rates) {
    why.push("Speed is not predicted for this GPU, which was not measured.");
  } else {
    why.push(device.rates ? "Speed is predicted for the project's own engine only." : "Speed was not measured on this device.");
  }
  return why;
}

/**
 * What another variant would give, in one sentence.
 * @param {"smaller" | "larger"} which
 * @param {import("./choice.js").Alternative} alternative
 * @param {Weighing["plan"]} plan
 */
export function describeAlternative(which, { dtype, supported, download_bytes: bytes, memory_bytes: need, ttft_s: first, decode_tokens_per_s: decode }, plan) {
  const needs = `a download of ${size(bytes)} and ${size(need)} of memory`;
  if (!supported) return `The next ${which}, ${dtype}, does not fit: ${needs}.`;
  const gives = decode ? `: ${span(decode)} tokens a second` : first ? `: ${span(first)} s for a text of ${plan.prompt_tokens} tokens` : "";
  return `The next ${which}, ${dtype}, is ${needs}${gives}.`;
}

/** @type {Record<string, string>} */
const BASES = {
  probe: "from what was measured on this device",
  "ghost run": "from a trial run without the weights",
  "earlier runs here": "from earlier runs on this device",
};

/** @param {[number, number]} bounds */
function span([low, high]) {
  return `${round(low)} to ${round(high)}`;
}

/** @param {number} value */
function round(value) {
  return value < 10 ? value.toFixed(value < 1 ? 2 : 1) : String(Math.round(value));
}

/** @param {number} bytes */
function size(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(bytes / 1e6))} MB`;
}
