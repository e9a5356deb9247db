/** Owns what one worker thread does: an instance of its own over the shared memory, in the kernels' loop until the end. */

/**
 * @typedef {object} Assignment
 * @property {WebAssembly.Module} module
 * @property {WebAssembly.Memory} memory
 * @property {number} plan address
 * @property {number} number of this thread, the caller of the runs being 0
 * @property {number} stackTop this thread's own stack grows down from here
 */

/** @param {Assignment} assignment @param {() => void} ready called before the loop takes the thread */
export function joinPool({ module, memory, plan, number, stackTop }, ready) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  /** @type {WebAssembly.Global} */ (exports.__stack_pointer).value = stackTop;
  ready();
  /** @type {(plan: number, number: number) => void} */ (exports.fw_worker_loop)(plan, number);
}
