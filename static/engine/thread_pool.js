/** Owns the worker threads: it starts them beside a plan and lets them go. */

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
   * @param {WebAssembly.Module} module
   * @param {number} count beside the caller
   * @param {() => ThreadHandle} [createWorker]
   */
  async start(module, count, createWorker = browserWorker) {
    const { memory } = this.kernels;
    const started = Array.from({ length: count }, () => {
      const thread = createWorker();
      this.threads.push(thread);
      const stackTop = memory.allocate(STACK_BYTES) + STACK_BYTES;
      const ready = new Promise((resolve, reject) => {
        thread.onmessage = resolve;
        thread.onerror = (event) => reject(new FeatherweightError("unsupported", `A worker thread did not start: ${event?.message ?? event}`));
      });
      thread.postMessage({ module, memory: memory.memory, plan: this.plan, stackTop });
      return ready;
    });
    await Promise.all(started);
  }

  /** Ends the threads; no run may be under way. */
  stop() {
    if (this.threads.length === 0) return;
    const words = new Int32Array(this.kernels.memory.memory.buffer, this.plan, PLAN.WORDS);
    Atomics.store(words, PLAN.STOP, 1);
    Atomics.add(words, PLAN.EPOCH, 1);
    Atomics.notify(words, PLAN.EPOCH);
    for (const thread of this.threads) thread.terminate();
    this.threads = [];
  }
}
