/** Owns the weighing of models on the page thread: the probe and its copy, verdicts, ghost runs, receipts. */

import { fitModel } from "./device/choice.js";
import { defaultThreads } from "./device/fit.js";
import { predictFrom, rawPrediction } from "./device/prediction.js";
import { deviceFacts } from "./device/probe.js";
import { PROBE_MS, ratesThatHold } from "./device/rates.js";
import { receiptsOf, sharedForm, withReceipt } from "./device/receipts.js";
import { kernelFile } from "./engine/kernels.js";
import { FeatherweightError, throwIfAborted } from "./errors.js";
import { recall, remember } from "./local_storage.js";
import { loadManifest, revisionOf } from "./manifest/load_manifest.js";
import { absolute, probeWorker, storeWorker } from "./worker/clients.js";

/**
 * @typedef {import("./device/probe.js").Device} Device
 * @typedef {import("./device/choice.js").Verdict} Verdict
 * @typedef {import("./device/receipts.js").Receipt} Receipt
 * @typedef {import("./device/prediction.js").Metric} Metric
 * @typedef {import("./tasks/run_stats.js").Stats} Stats
 * @typedef {Record<Metric, number | null>} GhostRun
 */

const RATES_KEY = "rates";
const RECEIPTS_KEY = "receipts";
/** Backends whose speed is predicted. */
const PREDICTED = ["wasm", "ort-webgpu"];
/** Answers, and texts of encoders, that are shorter than this say little about speed. */
const LEAST_TOKENS = 16;

/**
 * Facts about this device and, measured in a worker in at most two seconds and with at most 2 MB of transfer, its rates.
 * They are kept for a week and measured anew when the conditions have changed.
 * @param {{signal?: AbortSignal, fresh?: boolean, measure?: boolean}} [options] fresh: measure in any case; measure: false
 *   gives the facts alone, with the rates of an earlier probe if there are any
 * @returns {Promise<Device>}
 * @throws {FeatherweightError} aborted
 */
export async function probeDevice({ signal, fresh = false, measure = true } = {}) {
  const [facts, build] = await Promise.all([deviceFacts({ signal }), kernelsBuild()]);
  const { threads, crossOriginIsolated: isolated, wasm } = facts;
  const gpu = facts.webgpu && `${facts.webgpu.vendor} ${facts.webgpu.architecture}`;
  const conditions = { threads, isolated, wasm, gpu, browser: navigator.userAgent, build };
  const kept = fresh ? null : ratesThatHold(recall(RATES_KEY), conditions, Date.now());
  if (kept || !measure || !wasm.simd) return { ...facts, rates: kept };
  const rates = await measuredRates(facts, signal);
  if (rates) remember(RATES_KEY, { conditions, at: Date.now(), rates });
  return { ...facts, rates };
}

/**
 * What the worker has told when its time is up; it ends then, in whatever it is.
 * @param {Device} facts
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("./device/rates.js").Rates | null>}
 */
async function measuredRates({ threads, webgpu }, signal) {
  const worker = probeWorker();
  const gpu = webgpu !== null && !webgpu.isFallback;
  /** @type {import("./device/rates.js").Rates | null} */
  let last = null;
  /** @type {(timeIsUp?: undefined) => void} */
  let stop = () => {};
  const stopped = new Promise((resolve) => (stop = resolve));
  const onStop = () => stop();
  signal?.addEventListener("abort", onStop);
  /** @param {any} event */
  const onEvent = ({ rates }) => {
    if (!rates) setTimeout(stop, PROBE_MS);
    last = rates;
  };
  try {
    const call = worker.call("measure", { threads: defaultThreads(threads), gpu }, { onEvent });
    call.catch(() => {}); // it may end after its time
    await Promise.race([call, stopped]);
  } catch (error) {
    console.warn("The device's speed could not be measured:", error);
  } finally {
    signal?.removeEventListener("abort", onStop);
    worker.close();
  }
  throwIfAborted(signal);
  return last;
}

/** @type {Promise<string | null> | null} */
let build = null;

/** Which build of the kernels the server gives; null where it cannot be asked. */
function kernelsBuild() {
  build ??= fetch(new URL(`./wasm/${kernelFile(globalThis.crossOriginIsolated === true)}`, import.meta.url), { method: "HEAD" }).then(
    (response) => response.headers.get("etag"),
    () => null,
  );
  return build;
}

/**
 * Says before the download whether a model and this device fit, and how fast it will be.
 * @param {string | URL} manifestUrl relative to the page
 * @param {object} [options]
 * @param {Device} [options.device] a probe made earlier; without it one is made now
 * @param {string} [options.dtype] without it the best variant is chosen, see fitModel
 * @param {number} [options.contextLength]
 * @param {number} [options.promptTokens]
 * @param {string} [options.backend]
 * @param {number} [options.threads]
 * @param {GhostRun | null} [options.ghost]
 * @param {AbortSignal} [options.signal]
 * @returns {Promise<Verdict>}
 */
export async function fit(manifestUrl, { device, dtype, contextLength, promptTokens, backend, threads, ghost, signal } = {}) {
  const url = absolute(manifestUrl);
  const [facts, manifest] = await Promise.all([device ?? probeDevice({ signal }), loadManifest(url, { signal })]);
  const stored = await storeWorker().call("storageFacts", { manifestUrl: url }, { signal });
  const receipts = receiptsHere();
  return fitModel({ device: facts, manifest, dtype, contextLength, promptTokens, ...stored, backend, threads, receipts, ghost });
}

/**
 * Runs a variant's real plan over synthetic weights, before a weight is downloaded: what it measures stands in for what
 * the probe's rates say. Takes a second or two, and up to 128 MB and the largest tensor of memory.
 * @param {string | URL} manifestUrl
 * @param {{dtype?: string, threads?: number, contextLength?: number, promptTokens?: number, signal?: AbortSignal}} [options]
 * @returns {Promise<GhostRun>}
 * @throws {FeatherweightError} unsupported: the engine cannot run this model; out_of_memory; network; aborted
 */
export async function ghostRun(manifestUrl, { dtype, threads, contextLength, promptTokens = 128, signal } = {}) {
  const url = absolute(manifestUrl);
  const { model } = await loadManifest(url, { signal });
  const context = Math.min(contextLength ?? model.contextLength, model.contextLength);
  const prompt = Math.min(promptTokens, context);
  const request = { manifestUrl: url, dtype, threads: threads ?? defaultThreads(navigator.hardwareConcurrency), contextLength: context };
  const worker = probeWorker();
  try {
    const times = await worker.call("ghost", { ...request, promptTokens: prompt, past: prompt }, { signal });
    return {
      load_s: null,
      time_to_first_token_s: times.prefill_s,
      prefill_tokens_per_s: prompt / times.prefill_s,
      decode_tokens_per_s: times.decode_s && 1 / times.decode_s,
      peak_memory_bytes: times.memory_bytes,
    };
  } finally {
    worker.close();
  }
}

/** Predicted beside measured, of the runs on this device, the oldest first. @returns {Receipt[]} */
export function listRuns() {
  return receiptsHere();
}

/**
 * Sends a receipt to this server, with no more of the device than its class; only ever called on the user's wish.
 * @param {Receipt} receipt
 * @param {Device} device
 * @throws {FeatherweightError} network
 */
export async function shareRun(receipt, device) {
  const body = JSON.stringify(sharedForm(receipt, device, navigator));
  const response = await fetch("/api/measurements", { method: "POST", headers: { "content-type": "application/json" }, body }).catch((error) => {
    throw FeatherweightError.from(error, "network");
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    const reason = answer.error?.message ?? `status ${response.status}`;
    throw new FeatherweightError("network", `The server did not take the measurement: ${reason}`, { status: response.status });
  }
  keepReceipt({ ...receipt, shared: true });
}

/**
 * Writes the receipt of a finished answer, or of texts that an encoder read, if the device was probed and the run was long
 * enough to tell.
 * @param {{manifestUrl: string, dtype: string, contextLength: number}} run
 * @param {Stats} stats
 * @returns {Promise<Receipt | null>}
 */
export async function writeReceipt({ manifestUrl, dtype, contextLength }, stats) {
  const { backend, threads, texts, prompt_tokens: promptTokens, generated_tokens: generated } = stats;
  const decodes = stats.time_to_first_token_s !== null;
  if (!PREDICTED.includes(backend) || (decodes ? generated : promptTokens) < LEAST_TOKENS || stats.cached_tokens > 0) return null;
  const device = await probeDevice({ measure: false });
  if (!device.rates || (backend === "ort-webgpu" && !device.rates.gpu)) return null;
  const manifest = await loadManifest(manifestUrl);
  if (manifest.model.kvCache && !decodes) return null;
  const variant = manifest.variant(dtype);
  const earlier = receiptsHere();
  const raw = rawPrediction({
    manifest,
    variant,
    rates: device.rates,
    workload: { backend, threads, contextLength, promptTokens, texts, past: promptTokens + (generated >> 1) },
    remainingBytes: stats.download_bytes,
    downloadBytesPerSecond: device.rates.download_bytes_per_s,
  });
  const run = { id: manifest.model.id, dtype, backend, threads };
  /** @type {Receipt} */
  const receipt = {
    id: crypto.randomUUID(),
    made_on: new Date().toISOString().slice(0, 10),
    model: manifest.model.id,
    revision: revisionOf(manifestUrl),
    dtype,
    backend,
    threads,
    prompt_tokens: promptTokens,
    texts,
    generated_tokens: generated,
    predicted: predictFrom(raw, earlier, run),
    raw,
    measured: {
      load_s: stats.load_s,
      time_to_first_token_s: decodes ? stats.time_to_first_token_s : stats.prefill_tokens_per_s && promptTokens / stats.prefill_tokens_per_s,
      prefill_tokens_per_s: stats.prefill_tokens_per_s,
      decode_tokens_per_s: stats.decode_tokens_per_s,
      peak_memory_bytes: stats.peak_memory_bytes,
    },
    shared: false,
  };
  keepReceipt(receipt);
  return receipt;
}

function receiptsHere() {
  return receiptsOf(recall(RECEIPTS_KEY));
}

/** @param {Receipt} receipt */
function keepReceipt(receipt) {
  remember(RECEIPTS_KEY, withReceipt(receiptsHere(), receipt));
}
