/** Owns the worker threads: it starts them beside a plan, lets some of them rest, and lets them go. */

import { FeatherweightError } from "../errors.js";
import { PLAN } from "./plan_format.js";

/**
 * The part of Worker that the pool uses, so that Node's threads fit too.
 * @typedef {object} ThreadHandle
 * @property {(message: import("./pool_member.js").Assignment) => void} postMessage
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onerror
 * @property {() => unknown} terminate
 */

const STACK_BYTES = 65536;

/** @returns {ThreadHandle} */
function browserWorker() {
  return new Worker(new URL("./pool_worker.js", import.meta.url), { type: "module", name: "featherweight kernels" });
}

export class ThreadPool {
  /** @param {import("./kernels.js").Kernels} kernels @param {number} plan address */
  constructor(kernels, plan) {
    this.kernels = kernels;
    this.plan = plan;
    /** @type {ThreadHandle[]} */
    this.threads = [];
  }

  /**
   * Starts worker threads, which rest until `use` calls them.
   * @param {WebAssembly.Module} module
   * @param {number} count beside the caller
   * @param {() => ThreadHandle} [createWorker]
   */
  async start(module, count, createWorker = browserWorker) {
    const { memory } = this.kernels;
    const started = Array.from({ length: count }, (_, at) => {
      const thread = createWorker();
      this.threads.push(thread);
      const stackTop = memory.allocate(STACK_BYTES) + STACK_BYTES;
      const ready = new Promise((resolve, reject) => {
        thread.onmessage = resolve;
        thread.onerror = (event) => reject(new FeatherweightError("unsupported", `A worker thread did not start: ${event?.message ?? event}`));
      });
      thread.postMessage({ module, memory: memory.memory, plan: this.plan, number: at + 1, stackTop });
      return ready;
    });
    await Promise.all(started);
  }

  /** Sets how many threads share the next runs, the caller among them; the others rest. @param {number} count */
  use(count) {
    if (count < 1 || count > this.threads.length + 1) throw new RangeError(`there are ${this.threads.length + 1} threads, not ${count}`);
    const words = this.#words();
    if (words[PLAN.THREADS] === count) return;
    Atomics.store(words, PLAN.THREADS, count);
    if (this.threads.length > 0) Atomics.notify(words, PLAN.THREADS);
  }

  /** How many threads share a run. */
  get used() {
    return this.#words()[PLAN.THREADS];
  }

  /** Ends the threads; no run may be under way. */
  stop() {
    if (this.threads.length === 0) return;
    const words = this.#words();
    Atomics.store(words, PLAN.STOP, 1);
    Atomics.add(words, PLAN.EPOCH, 1);
    Atomics.notify(words, PLAN.EPOCH);
    for (const thread of this.threads) thread.terminate();
    this.threads = [];
  }

  #words() {
    return new Int32Array(this.kernels.memory.memory.buffer, this.plan, PLAN.WORDS);
  }
}
