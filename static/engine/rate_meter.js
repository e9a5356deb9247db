/** Owns the timing of the engine's kernels on this device: each part of the probe's plan, on one thread and on several. */

import { Plan } from "./plan.js";
import { PROBE_CONTEXT, probeModel } from "./probe_model.js";
import { ThreadPool } from "./thread_pool.js";

/**
 * @typedef {import("./kernels.js").Kernels} Kernels
 * @typedef {import("./probe_model.js").Part} Part
 * @typedef {{bytes_per_s: number, macs_per_s: number}} Rate bytes for one row, multiply-adds for many
 */

/**
 * @typedef {object} KernelRates
 * @property {number} threads
 * @property {Record<string, Rate>} linear by operator class
 * @property {Rate} attention bytes of the KV cache for one row, multiply-adds for many
 * @property {number} elementwise_bytes_per_s
 * @property {number} step_s what a step costs beside its work
 */

/** Well above the last-level caches of laptops and phones, and little enough to ask of them. */
const WEIGHT_BYTES = 96 * 2 ** 20;
/** A byte that makes ordinary numbers of every width: denormal ones would be slow. */
export const FILL = 0x3c;
const ROWS = 128;
/** Tokens before those that attention is timed with. */
const PAST = 512;
/** Timings for each number of threads. */
const PARTS = 10;

/**
 * @param {object} options
 * @param {WebAssembly.Module} options.module
 * @param {Kernels} options.kernels
 * @param {number} options.threads
 * @param {number} options.budgetMs for all of it, about
 * @param {() => number} options.clock milliseconds
 * @param {() => Promise<void>} options.pause lets an abort come through; throws when it has
 * @param {() => import("./thread_pool.js").ThreadHandle} [options.createWorker]
 * @returns {Promise<{read_bytes_per_s: number, by_threads: KernelRates[]}>}
 */
export async function measureKernels({ module, kernels, threads, budgetMs, clock, pause, createWorker }) {
  const probe = probeModel(kernels, WEIGHT_BYTES);
  const weights = kernels.memory.allocate(probe.model.weights.bytes);
  // Untouched memory is one page of zeros to the processor: no more than a cache holds.
  kernels.memory.bytes().fill(FILL, weights, weights + WEIGHT_BYTES);
  const plan = new Plan(kernels, probe.model, { weights, maxRows: ROWS, maxSlots: PROBE_CONTEXT });
  const pool = new ThreadPool(kernels, threads - 1, createWorker);
  try {
    await pool.join(module, plan.address);
    const counts = threadCounts(threads);
    const parts = counts.length * PARTS + 1;
    const deadline = clock() + budgetMs;
    /** @param {() => void} run @returns {Promise<number>} seconds of the best run */
    const best = async (run) => {
      let least = Infinity;
      const end = Math.min(deadline, clock() + budgetMs / parts);
      // The whole share: the compiler makes a kernel fast only after it has run for a while.
      while (least === Infinity || clock() < end) {
        const start = clock();
        run();
        const seconds = (clock() - start) / 1000;
        least = Math.min(least, seconds);
      }
      await pause();
      return least;
    };
    const readSeconds = await best(() => kernels.fw_read_sum(weights, WEIGHT_BYTES / 4));
    const byThreads = [];
    for (const count of counts) {
      pool.use(count);
      byThreads.push({ threads: count, ...(await measureParts(plan, probe, best)) });
    }
    return { read_bytes_per_s: WEIGHT_BYTES / readSeconds, by_threads: byThreads };
  } finally {
    pool.stop();
  }
}

/** One, all, and between them powers of two. @param {number} most */
function threadCounts(most) {
  const counts = [];
  for (let count = 1; count < most; count *= 2) counts.push(count);
  return [...counts, most];
}

/**
 * @param {Plan} plan
 * @param {import("./probe_model.js").ProbeModel} probe
 * @param {(run: () => void) => Promise<number>} best
 * @returns {Promise<Omit<KernelRates, "threads">>}
 */
async function measureParts(plan, probe, best) {
  /** @param {Part} part @param {number} rows @param {number} past */
  const seconds = (part, rows, past) => {
    const ids = new Array(rows).fill(0);
    const segments = [{ ids, positions: ids, slot: 0, past }];
    return best(() => plan.run(segments, true, part));
  };
  const step = (await seconds(probe.steps, 1, 0)) / (probe.steps.end - probe.steps.begin);
  /** @type {Record<string, Rate>} */
  const linear = {};
  for (const [name, part] of Object.entries(probe.linear)) {
    const few = probe.linearFew[/** @type {keyof typeof probe.linearFew} */ (name)];
    const one = (await seconds(part, 1, 0)) - step * (part.end - part.begin);
    linear[name] = { bytes_per_s: part.bytes / one, macs_per_s: (few.macs * ROWS) / (await seconds(few, ROWS, 0)) };
  }
  const { attention, elementwise } = probe;
  const past = PROBE_CONTEXT - 1;
  const one = (await seconds(attention, 1, past)) - step * (attention.end - attention.begin);
  const many = await seconds(attention, ROWS, PAST);
  return {
    linear,
    attention: {
      bytes_per_s: (attention.bytes * PROBE_CONTEXT) / one,
      macs_per_s: (attention.macs * (ROWS * PAST + (ROWS * (ROWS + 1)) / 2)) / many,
    },
    elementwise_bytes_per_s: (elementwise.bytes * ROWS) / (await seconds(elementwise, ROWS, 0)),
    step_s: step,
  };
}
