/** Owns the measuring of a device, in a worker: kernels, verification, the way a load takes, and the network. */

import { compileKernels } from "../backends/wasm.js";
import { instantiateKernels, kernelFile } from "../engine/kernels.js";
import { RateMeter } from "../engine/rate_meter.js";
import { GpuMeter } from "./gpu_meter.js";
import { PROBE_MS } from "./rates.js";
import { argmax } from "../text/sampler.js";

/** @typedef {import("./rates.js").Rates} Rates */

/** What the kernels get of it: the download comes behind them. */
const KERNELS_END_MS = 1450;
const DOWNLOAD_MS = 350;
/** What a GPU gets of the kernels' time. */
const GPU_MS = 200;
/** What its driver gets before that, to compile. */
const GPU_OPEN_MS = 1500;
const DOWNLOAD_BYTES = 1 << 20;
/** A file of this server that is large enough to be asked for a part of. */
const SAMPLE = new URL("../vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm", import.meta.url);
const HASHED_BYTES = 4 << 20;
/** What sha256.js reaches. */
const SLOW_HASH_BYTES_PER_S = 1.2e8;
const LOGITS = 65536;
const LOGIT_RUNS = 24;
/** Messages between the page and its worker, and the text of a token. */
const CALL_SECONDS = 4e-4;
/** What the browser's store gives, chunk by chunk, of a file that the system still has in its cache. */
const FILE_BYTES_PER_S = 1.6e9;
/** Repacking a byte takes as long as so many multiply-adds of one thread. */
const REPACK_MACS = 42;
/** Workers, the graph, the tokenizer. */
const START_SECONDS = 0.12;

/**
 * Measures until PROBE_MS are over, whatever is missing then: no result is given later, and none takes longer than what
 * runs at that moment.
 * @param {object} options
 * @param {number} options.threads
 * @param {boolean} options.gpu whether there is one worth timing
 * @param {() => Promise<void>} options.pause lets an abort come through; throws when it has
 * @param {AbortSignal} options.signal
 * @param {() => void} options.onStart the code is here, the time begins
 * @param {(rates: Rates) => void} options.onRates each with all that the one before it had
 * @returns {Promise<void>}
 * @throws {FeatherweightError} not_found: the kernels are not built; out_of_memory; aborted
 */
export async function measureRates({ threads, gpu, pause, signal, onStart, onRates }) {
  const clock = () => performance.now();
  const opened = clock();
  const shared = globalThis.crossOriginIsolated === true;
  const module = await compileKernels(kernelFile(shared), signal);
  const kernels = await instantiateKernels(module, shared);
  const compiled = (clock() - opened) / 1000;
  const [meter, gpuMeter] = await Promise.all([RateMeter.open({ module, kernels, threads: shared ? threads : 1 }), gpu ? openGpu() : null]);
  onStart();
  const started = clock();
  /** @param {Omit<Rates, "probe_s">} rates */
  const tell = (rates) => {
    const taken = clock() - started;
    if (taken <= PROBE_MS) onRates({ ...rates, probe_s: taken / 1000 });
  };
  try {
    const logit = logitSeconds(clock);
    const hashed = await hashRate(clock);
    await pause();
    /** @type {Omit<Rates, "probe_s"> | null} */
    let rates = null;
    await meter.measure({
      deadline: started + KERNELS_END_MS - (gpuMeter ? GPU_MS : 0),
      latest: started + PROBE_MS,
      clock,
      pause,
      onRates: ({ read_bytes_per_s, by_threads, share_of_time }) => {
        rates = {
          measured_on: new Date().toISOString().slice(0, 10),
          read_bytes_per_s,
          share_of_time,
          by_threads: by_threads.map((entry) => ({ ...entry, call_s: CALL_SECONDS, logit_s: logit })),
          start_s: START_SECONDS + compiled,
          stored_bytes_per_s: 1 / (1 / hashed + 1 / FILE_BYTES_PER_S + REPACK_MACS / by_threads[0].linear.linear_8bit.macs_per_s),
          download_bytes_per_s: null,
          gpu: null,
        };
        tell(rates);
      },
    });
    if (!rates) return;
    const measured = /** @type {Omit<Rates, "probe_s">} */ (rates);
    if (gpuMeter) measured.gpu = await gpuMeter.measure(GPU_MS / 5, started + PROBE_MS, clock).catch(withoutGpu);
    tell(measured);
    tell({ ...measured, download_bytes_per_s: await downloadRate(clock, started + PROBE_MS, signal) });
  } finally {
    meter.close();
    gpuMeter?.close();
  }
}

/** @returns {Promise<GpuMeter | null>} null where the GPU refuses, or takes too long to be waited for */
function openGpu() {
  const open = async () => {
    const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter();
    return adapter ? GpuMeter.open(adapter) : null;
  };
  /** @type {Promise<null>} */
  const late = new Promise((resolve) => setTimeout(resolve, GPU_OPEN_MS, null));
  return Promise.race([open().catch(withoutGpu), late]);
}

/** @param {unknown} error */
function withoutGpu(error) {
  console.warn("The GPU's speed could not be measured:", error);
  return null;
}

/** Seconds for each entry of the vocabulary when a token is chosen. @param {() => number} clock */
function logitSeconds(clock) {
  const logits = Float32Array.from({ length: LOGITS }, (_, at) => Math.sin(at));
  let least = Infinity;
  // The compiler makes it fast after some runs.
  for (let run = 0; run < LOGIT_RUNS; run++) {
    const start = clock();
    argmax(logits);
    least = Math.min(least, clock() - start);
  }
  return least / 1000 / LOGITS;
}

/** Bytes a second of the verification of chunks. @param {() => number} clock */
async function hashRate(clock) {
  const chunk = new Uint8Array(HASHED_BYTES / 4);
  if (!globalThis.crypto?.subtle) return SLOW_HASH_BYTES_PER_S; // outside secure contexts sha256.js does it
  const hash = () => Promise.all([0, 1, 2, 3].map(() => crypto.subtle.digest("SHA-256", chunk)));
  await hash(); // starts the browser's threads
  const start = clock();
  await hash();
  return (HASHED_BYTES * 1000) / (clock() - start);
}

/**
 * Bytes a second from this server, of a part of a file: null when it does not answer in time.
 * @param {() => number} clock
 * @param {number} deadline of `clock`
 * @param {AbortSignal} signal
 */
async function downloadRate(clock, deadline, signal) {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(Math.max(0, deadline - clock()))]);
  try {
    const headers = { range: `bytes=0-${DOWNLOAD_BYTES - 1}` };
    const response = await fetch(SAMPLE, { headers, cache: "no-store", signal: limit });
    if (response.status !== 206 || !response.body) return null;
    const reader = response.body.getReader();
    const first = await reader.read();
    const start = clock();
    let bytes = 0;
    while (!first.done && clock() - start < DOWNLOAD_MS) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.length;
    }
    const seconds = (clock() - start) / 1000;
    await reader.cancel();
    return bytes > 0 && seconds > 0 ? bytes / seconds : null;
  } catch (error) {
    if (signal.aborted) throw error;
    return null;
  }
}
