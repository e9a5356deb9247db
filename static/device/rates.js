/** Owns the form of what was measured on a device: rates of the engine's kernels, of its store and of the network. */

/**
 * Rates of one operator class: bytes of weights for one row, where reading them is the work, and multiply-adds for many,
 * where arithmetic is.
 * @typedef {{bytes_per_s: number, macs_per_s: number}} LinearRate
 */

/**
 * @typedef {object} ThreadRates
 * @property {number} threads
 * @property {Record<string, LinearRate>} linear by operator class; "linear_float" is always there
 * @property {{bytes_per_s: number, macs_per_s: number}} attention bytes of the KV cache for one row, multiply-adds for many
 * @property {number} elementwise_bytes_per_s norms, activations, quantizing of rows
 * @property {number} step_s what a step costs beside its work: claim, barrier
 * @property {number} call_s what a call costs beside the engine: messages, detokenizing
 * @property {number} logit_s choosing a token, per entry of the vocabulary
 */

/**
 * @typedef {object} Rates
 * @property {string} measured_on date, YYYY-MM-DD
 * @property {number} read_bytes_per_s of a plain loop over memory, one thread
 * @property {ThreadRates[]} by_threads ascending
 * @property {number} share_of_time in which the kernels ran when others, or a limit, had the cores for the rest, 0 to 1:
 *   the rates are what was left
 * @property {number} start_s compiling, starting threads, reading the graph
 * @property {number} stored_bytes_per_s reading, verifying and repacking what is stored
 * @property {number | null} download_bytes_per_s from this server; null where it was not known in time
 * @property {import("./gpu_meter.js").GpuRates | null} [gpu] null without one, and where it is a software renderer
 * @property {number} probe_s how long the probe took
 */

/**
 * What rates hold for: measured elsewhere, or by other kernels, they say nothing.
 * @typedef {object} Conditions
 * @property {number} threads
 * @property {boolean} isolated
 * @property {import("./probe.js").WasmFeatures} wasm
 * @property {string | null} gpu its vendor and architecture
 * @property {string} browser the user agent
 * @property {string | null} build of the kernels; null where the server cannot be asked, and then any will do
 */

/** What a probe may take once its code is here. */
export const PROBE_MS = 2000;

/** A copy of rates. @typedef {{conditions: Conditions, at: number, rates: Rates}} Kept */

/** Drivers, systems and habits change without a sign. */
const LAST_MS = 7 * 24 * 3600 * 1000;
/** What else the device did while it was measured is soon over. */
const BUSY_LAST_MS = 600 * 1000;

/**
 * The rates of an earlier probe, as long as they hold.
 * @param {any} kept a Kept, or anything
 * @param {Conditions} conditions of now
 * @param {number} now milliseconds since 1970
 * @returns {Rates | null}
 */
export function ratesThatHold(kept, conditions, now) {
  if (!kept?.conditions || !kept.rates?.by_threads?.length) return null;
  const age = now - kept.at;
  if (!(age >= 0 && age < (kept.rates.share_of_time < 1 ? BUSY_LAST_MS : LAST_MS))) return null;
  const { build: before, ...others } = kept.conditions;
  const { build, ...current } = conditions;
  const sameBuild = build === null || build === before;
  return sameBuild && JSON.stringify(others) === JSON.stringify(current) ? kept.rates : null;
}

/**
 * The rates for a thread count: those of the largest measured one that is not above it.
 * @param {Rates} rates
 * @param {number} threads
 * @returns {ThreadRates}
 */
export function ratesFor(rates, threads) {
  const [first, ...others] = rates.by_threads;
  return others.findLast((entry) => entry.threads <= threads) ?? first;
}

/**
 * A GPU's rates in the form of the processor's: one rate for all matrices, a dispatch for a step.
 * @param {Rates} rates
 * @returns {ThreadRates | null} null where there are none
 */
export function gpuRates({ gpu, by_threads: [{ call_s, logit_s }] }) {
  if (!gpu) return null;
  const rate = { bytes_per_s: gpu.bytes_per_s, macs_per_s: gpu.macs_per_s };
  const shared = { step_s: gpu.step_s, call_s: call_s + gpu.call_s, logit_s };
  return { threads: 1, linear: { linear_float: rate }, attention: rate, elementwise_bytes_per_s: gpu.bytes_per_s, ...shared };
}
