/** Owns the timing of the engine's kernels on this device: each part of the probe's plan, on one thread and on several. */

import { Plan } from "./plan.js";
import { PROBE_CONTEXT, probeModel } from "./probe_model.js";
import { ThreadPool } from "./thread_pool.js";
import { PIECES, bestOf, isWhole, shareOfTime, timed, typicalSeconds } from "./timings.js";

/**
 * @typedef {import("./kernels.js").Kernels} Kernels
 * @typedef {import("./probe_model.js").Part} Part
 * @typedef {import("./timings.js").Timer} Timer
 * @typedef {import("./timings.js").Timing} Timing
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
/** Timings for each number of threads in each round. */
const PARTS = 10;
/** A thread that has just been woken may share a core with another for longer than a part takes. */
const ROUNDS = 2;

/** Of the time, to make the kernels fast. */
const WARM_SHARE = 0.1;
/** By so much more a step takes in a model, where what it reads has left the caches. */
const COLD = 6.5;
/** Of a run's time, what is work at least. */
const LEAST_WORK = 0.5;

/** Thrown where no time is left for another part. */
class TimeIsUp extends Error {}

export class RateMeter {
  #kernels;
  #probe;
  #weights;
  #plan;
  #pool;
  #threads;

  /**
   * Lays the probe's plan out and starts the threads; nothing is measured yet.
   * @param {object} options
   * @param {WebAssembly.Module} options.module
   * @param {Kernels} options.kernels
   * @param {number} options.threads
   * @param {() => import("./thread_pool.js").ThreadHandle} [options.createWorker]
   * @throws {FeatherweightError} out_of_memory, unsupported
   */
  static async open({ module, kernels, threads, createWorker }) {
    const meter = new RateMeter(kernels, threads, createWorker);
    try {
      await meter.#pool.join(module, meter.#plan.address);
    } catch (error) {
      meter.close();
      throw error;
    }
    return meter;
  }

  /** @param {Kernels} kernels @param {number} threads @param {() => import("./thread_pool.js").ThreadHandle} [createWorker] */
  constructor(kernels, threads, createWorker) {
    this.#kernels = kernels;
    this.#threads = threads;
    this.#probe = probeModel(kernels, WEIGHT_BYTES);
    this.#weights = kernels.memory.allocate(this.#probe.model.weights.bytes);
    this.#plan = new Plan(kernels, this.#probe.model, { weights: this.#weights, maxRows: ROWS, maxSlots: PROBE_CONTEXT });
    this.#plan.takePages(this.#weights, WEIGHT_BYTES);
    this.#pool = new ThreadPool(kernels, threads - 1, createWorker);
  }

  /**
   * Times every part on one thread, then on more, and all again: the better counts. When the time is up it ends behind the
   * piece that runs, and the number of threads that was not finished is left out, or keeps what the first round found; one
   * thread has until `latest`, because without it nothing is known.
   * @param {object} options
   * @param {number} options.deadline of `clock`
   * @param {number} options.latest of `clock`
   * @param {() => number} options.clock milliseconds
   * @param {() => Promise<void>} options.pause lets an abort come through; throws when it has
   * @param {(measured: {read_bytes_per_s: number, by_threads: KernelRates[], share_of_time: number}) => void} options.onRates after each number of
   *   threads, with those before it
   */
  async measure({ deadline, latest, clock, pause, onRates }) {
    // Untouched memory is one page of zeros to the processor, which any cache holds.
    this.#kernels.memory.bytes().fill(FILL, this.#weights, this.#weights + WEIGHT_BYTES);
    const counts = threadCounts(this.#threads);
    this.#pool.use(1);
    await this.#warmUp(clock, clock() + (deadline - clock()) * WARM_SHARE);
    /** @type {KernelRates[]} */
    const measured = [];
    let windows = ROUNDS * counts.length * PARTS + 1;
    /** Of them, those before rates can be told. */
    let ahead = PARTS + 1;
    let leastShare = 1;
    /** @type {Timing[][]} */
    const timings = [];
    /** @type {Timer} */
    const time = async (begin, end, run) => {
      const start = clock();
      const limit = measured.length > 0 ? deadline : latest;
      if (start >= limit) throw new TimeIsUp();
      const until = start + (deadline - start) / windows--;
      /** @type {Timing[]} */
      const runs = [];
      // The whole share: the compiler makes a kernel fast only after it has run for a while.
      do runs.push(timed(begin, end, run, until, clock));
      while (clock() < until);
      ahead--;
      // Nothing is whole where the machine is that slow, or was taken away meanwhile: what follows tells which.
      if (!runs.some(isWhole)) {
        const now = clock();
        if (now + (ahead + 1) * (now - start) < limit) runs.push(timed(begin, end, run, now + (until - start), clock));
      }
      await pause();
      timings.push(runs);
      return typicalSeconds(runs);
    };
    try {
      const readBlock = WEIGHT_BYTES / 4 / PIECES;
      const read = await time(0, PIECES, (begin, end) => this.#kernels.fw_read_sum(this.#weights + 4 * begin * readBlock, (end - begin) * readBlock));
      const timers = counts.map(() => bestOf(time));
      for (let round = 0; round < ROUNDS; round++) {
        for (const [at, threads] of counts.entries()) {
          this.#pool.use(threads);
          timings.length = 0;
          ahead = PARTS;
          const rates = await measureParts(this.#plan, this.#probe, timers[at]());
          const share = shareOfTime(timings);
          leastShare = Math.min(leastShare, share);
          measured[at] = { threads, ...shared(rates, share) };
          onRates({ read_bytes_per_s: WEIGHT_BYTES / read, by_threads: [...measured], share_of_time: leastShare });
        }
      }
    } catch (error) {
      if (!(error instanceof TimeIsUp)) throw error;
    }
  }

  /** Lets the compiler see which kernels are used: it makes them fast while others run. @param {() => number} clock @param {number} until */
  async #warmUp(clock, until) {
    const { linear, linearFew, attentionFew, elementwise } = this.#probe;
    const many = new Array(ROWS).fill(0);
    for (const { begin } of [...Object.values(linear), ...Object.values(linearFew), attentionFew, elementwise]) {
      for (const ids of [[0], many]) {
        if (clock() >= until) return;
        this.#plan.run([{ ids, positions: ids, slot: 0, past: 0 }], true, { begin, end: begin + 2 });
      }
    }
  }

  /** Ends the threads. */
  close() {
    this.#pool.stop();
  }
}

/**
 * What is left of the rates when others, or a limit, take the cores for part of the time: a typical run is one that
 * nobody disturbed, but an answer lasts for hundreds of them.
 * @param {Omit<KernelRates, "threads">} rates
 * @param {number} share of the time that the kernels run, 0 to 1
 * @returns {Omit<KernelRates, "threads">}
 */
function shared({ linear, attention, elementwise_bytes_per_s, step_s }, share) {
  const part = (/** @type {Rate} */ { bytes_per_s, macs_per_s }) => ({ bytes_per_s: bytes_per_s * share, macs_per_s: macs_per_s * share });
  return {
    linear: Object.fromEntries(Object.entries(linear).map(([name, rate]) => [name, part(rate)])),
    attention: part(attention),
    elementwise_bytes_per_s: elementwise_bytes_per_s * share,
    step_s: step_s / share,
  };
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
 * @param {Timer} time
 * @returns {Promise<Omit<KernelRates, "threads">>}
 */
async function measureParts(plan, probe, time) {
  /** @param {Part} part @param {number} rows @param {number} past */
  const seconds = (part, rows, past) => {
    const ids = new Array(rows).fill(0);
    const segments = [{ ids, positions: ids, slot: 0, past }];
    return time(part.begin, part.end, (begin, end) => plan.run(segments, true, { begin, end }));
  };
  const step = (await seconds(probe.steps, 1, 0)) / (probe.steps.end - probe.steps.begin);
  /** Without what its steps cost, as far as that can be told: another part of the probe found it. @param {Part} part @param {number} past */
  const work = async (part, past) => {
    const whole = await seconds(part, 1, past);
    return Math.max(whole - step * (part.end - part.begin), LEAST_WORK * whole);
  };
  /** @type {Record<string, Rate>} */
  const linear = {};
  for (const [name, part] of Object.entries(probe.linear)) {
    const few = probe.linearFew[/** @type {keyof typeof probe.linearFew} */ (name)];
    const one = await work(part, 0);
    linear[name] = { bytes_per_s: part.bytes / one, macs_per_s: (few.macs * ROWS) / (await seconds(few, ROWS, 0)) };
  }
  const { attention, attentionFew, elementwise } = probe;
  const one = await work(attention, PROBE_CONTEXT - 1);
  const many = await seconds(attentionFew, ROWS, PAST);
  return {
    linear,
    attention: {
      bytes_per_s: (attention.bytes * PROBE_CONTEXT) / one,
      macs_per_s: (attentionFew.macs * (ROWS * PAST + (ROWS * (ROWS + 1)) / 2)) / many,
    },
    elementwise_bytes_per_s: (elementwise.bytes * ROWS) / (await seconds(elementwise, ROWS, 0)),
    step_s: COLD * step,
  };
}
