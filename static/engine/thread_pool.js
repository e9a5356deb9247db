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
  /** The plan that the threads run. */
  plan = 0;

  /** @type {Promise<unknown>} */
  #ready;

  /**
   * Starts the scripts of the threads; they have time until `join`.
   * @param {import("./kernels.js").Kernels} kernels
   * @param {number} count beside the caller
   * @param {() => ThreadHandle} [createWorker]
   */
  constructor(kernels, count, createWorker = browserWorker) {
    this.kernels = kernels;
    this.threads = Array.from({ length: count }, createWorker);
    this.#ready = Promise.all(this.threads.map(started));
    this.#ready.catch(() => {}); // join tells
  }

  /**
   * Takes the threads to a plan, where they rest until `use` calls them.
   * @param {WebAssembly.Module} module
   * @param {number} plan address
   */
  async join(module, plan) {
    const { memory } = this.kernels;
    this.plan = plan;
    for (const [at, thread] of this.threads.entries()) {
      const stackTop = memory.allocate(STACK_BYTES) + STACK_BYTES;
      thread.postMessage({ module, memory: memory.memory, plan, number: at + 1, stackTop });
    }
    await this.#ready;
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
    if (this.threads.length > 0 && this.plan > 0) {
      const words = this.#words();
      Atomics.store(words, PLAN.STOP, 1);
      Atomics.add(words, PLAN.EPOCH, 1);
      Atomics.notify(words, PLAN.EPOCH);
    }
    for (const thread of this.threads) thread.terminate();
    this.threads = [];
  }

  #words() {
    return new Int32Array(this.kernels.memory.memory.buffer, this.plan, PLAN.WORDS);
  }
}

/** @param {ThreadHandle} thread @returns {Promise<unknown>} settled when it has taken its place, or cannot */
function started(thread) {
  return new Promise((resolve, reject) => {
    thread.onmessage = resolve;
    thread.onerror = (event) => reject(new FeatherweightError("unsupported", `A worker thread did not start: ${event?.message ?? event}`));
  });
}
