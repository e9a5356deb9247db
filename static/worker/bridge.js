/** Owns the messages between the page and a worker: calls, their events and results, aborts, errors, and the worker's death. */

import { FeatherweightError } from "../errors.js";

/**
 * To the worker: `{id, method, args}` starts a call, `{id, abort: true}` stops it.
 * To the page: `{id, event}` any number of times, then once `{id, result}` or `{id, error}`.
 * @typedef {{id: number, method?: string, args?: any, abort?: boolean}} Request
 * @typedef {{id: number, event?: unknown, result?: unknown, error?: import("../errors.js").PlainError}} Reply
 */

/**
 * @typedef {object} Call
 * @property {(result: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {(event: unknown) => void} onEvent
 */

/**
 * What `connect` needs of a Worker.
 * @typedef {object} Port
 * @property {(message: Request, transfer: Transferable[]) => void} postMessage
 * @property {(type: string, listener: (event: any) => void) => void} addEventListener
 * @property {() => void} terminate
 */

/** A worker that computes cannot answer an abort at once; after so long the caller is not kept waiting. */
const ABORT_GRACE_MS = 1000;

/** @param {Port} worker @returns {Connection} */
export function connect(worker) {
  return new Connection(worker);
}

/** The page's end. */
export class Connection {
  closed = false;
  #worker;
  #nextId = 1;
  /** @type {Map<number, Call>} */
  #calls = new Map();

  /** @param {Port} worker */
  constructor(worker) {
    this.#worker = worker;
    worker.addEventListener("message", (event) => this.#receive(event.data));
    worker.addEventListener("error", (event) => this.#die(event.message));
    worker.addEventListener("messageerror", () => this.#die("a message could not be read"));
  }

  /**
   * @param {string} method
   * @param {unknown} args structured-cloneable
   * @param {{signal?: AbortSignal, onEvent?: (event: unknown) => void, transfer?: Transferable[]}} [options] `transfer`: what
   *   of the arguments is moved instead of copied
   * @returns {Promise<any>}
   * @throws {FeatherweightError} what the worker threw; aborted
   */
  call(method, args, { signal, onEvent = () => {}, transfer = [] } = {}) {
    if (signal?.aborted) return Promise.reject(aborted(signal));
    if (this.closed) return Promise.reject(new FeatherweightError("aborted", "The model was disposed of."));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let grace;
      const onAbort = () => {
        this.#worker.postMessage({ id, abort: true }, []);
        grace = setTimeout(() => this.#settle(id, (call) => call.reject(aborted(signal))), ABORT_GRACE_MS);
      };
      /** @template T @param {(value: T) => void} next @returns {(value: T) => void} */
      const then = (next) => (value) => {
        clearTimeout(grace);
        signal?.removeEventListener("abort", onAbort);
        next(value);
      };
      this.#calls.set(id, { resolve: then(resolve), reject: then(reject), onEvent });
      signal?.addEventListener("abort", onAbort);
      this.#worker.postMessage({ id, method, args }, transfer);
    });
  }

  /**
   * A call's events, one by one. Leaving the loop early aborts the call.
   * @param {string} method
   * @param {unknown} args
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<unknown, void, void>}
   */
  async *stream(method, args, { signal } = {}) {
    const left = new AbortController();
    /** @type {unknown[]} */
    const events = [];
    let ended = false;
    let wake = () => {};
    const call = this.call(method, args, {
      signal: signal ? AbortSignal.any([signal, left.signal]) : left.signal,
      onEvent: (event) => {
        events.push(event);
        wake();
      },
    });
    const end = () => {
      ended = true;
      wake();
    };
    call.then(end, end);
    try {
      for (;;) {
        while (events.length > 0) yield events.shift();
        if (ended) break;
        await new Promise((resolve) => (wake = () => resolve(undefined)));
      }
      await call;
    } finally {
      if (!ended) left.abort();
    }
  }

  /** Ends the worker and frees its memory; pending calls are rejected with "aborted". */
  close() {
    this.#end(new FeatherweightError("aborted", "The model was disposed of."));
  }

  /** @param {Reply} reply */
  #receive({ id, event, result, error }) {
    if (event !== undefined) this.#calls.get(id)?.onEvent(event);
    else this.#settle(id, (call) => (error ? call.reject(FeatherweightError.fromJSON(error)) : call.resolve(result)));
  }

  /** @param {number} id @param {(call: Call) => void} how */
  #settle(id, how) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (call) how(call);
  }

  /** @param {string | undefined} reason none for a worker whose script did not load */
  #die(reason) {
    if (!reason) {
      this.#end(new FeatherweightError("network", "The model's worker did not start: its script could not be loaded."));
    } else if (/memory|allocat/i.test(reason)) {
      this.#end(
        new FeatherweightError(
          "out_of_memory",
          "The model's worker ran out of memory and ended. Try a smaller variant or model, or close other tabs.",
          { reason },
        ),
      );
    } else {
      this.#end(
        new FeatherweightError("device_lost", `The model's worker ended (${reason}). Load the model again.`, { reason }),
      );
    }
  }

  /** @param {FeatherweightError} error */
  #end(error) {
    if (this.closed) return;
    this.closed = true;
    this.#worker.terminate();
    for (const id of [...this.#calls.keys()]) this.#settle(id, (call) => call.reject(error));
  }
}

/** @param {AbortSignal} [signal] */
function aborted(signal) {
  return new FeatherweightError("aborted", "Stopped.", {}, { cause: signal?.reason });
}

/**
 * What a method of the worker is given beside its arguments.
 * @typedef {{signal: AbortSignal, emit: (event: unknown) => void}} CallContext
 */

/** A result whose buffers are moved to the page instead of copied. */
export class Transferred {
  /** @param {unknown} value @param {Transferable[]} buffers */
  constructor(value, buffers) {
    this.value = value;
    this.buffers = buffers;
  }
}

/**
 * The worker's end: answers calls with these methods.
 * @param {Record<string, (args: any, context: CallContext) => unknown>} methods
 * @param {{postMessage: (message: Reply, transfer?: Transferable[]) => void,
 *   addEventListener: (type: "message", listener: (event: any) => void) => void}} scope
 */
export function serve(methods, scope) {
  /** @type {Map<number, AbortController>} */
  const running = new Map();
  /** @param {Request} request */
  const run = async ({ id, method = "", args }) => {
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const emit = (/** @type {unknown} */ event) => scope.postMessage({ id, event });
      const result = await methods[method](args, { signal: controller.signal, emit });
      if (result instanceof Transferred) scope.postMessage({ id, result: result.value }, result.buffers);
      else scope.postMessage({ id, result });
    } catch (error) {
      scope.postMessage({ id, error: FeatherweightError.from(error, "unsupported").toJSON() });
    } finally {
      running.delete(id);
    }
  };
  scope.addEventListener("message", ({ data }) => {
    if (data.abort) running.get(data.id)?.abort();
    else run(data);
  });
}

/** Who waits in nextTask, and what wakes them: a channel of its own for each would cost more than a token's choice. @type {(() => void)[]} */
const waiting = [];
/** @type {MessagePort | null} */
let bell = null;

/** @returns {MessagePort} */
function bellOf() {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => waiting.shift()?.();
  /** @type {any} */ (port1).unref?.(); // Node would wait for it
  return port2;
}

/**
 * Resolves after the messages that have arrived were handled: a loop that awaits this can be aborted. Unlike setTimeout
 * it is not slowed down to 4 ms.
 * @returns {Promise<void>}
 */
export function nextTask() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    bell ??= bellOf();
    bell.postMessage(null);
  });
}
