/**
 * Owns ghost runs: a model's own plan over synthetic weights, to time it before a weight is downloaded. All weights share
 * a window of memory that is far more than the caches hold, so that every step reads memory as it will in earnest.
 */

import { SIZES } from "./engine.js";
import { lowerModel } from "./lower_model.js";
import { Plan, alignedSlots } from "./plan.js";
import { DECODER_ROWS } from "./plan_format.js";
import { FILL } from "./rate_meter.js";
import { ThreadPool } from "./thread_pool.js";

/**
 * @typedef {import("./lower_model.js").LoweredModel} LoweredModel
 * @typedef {import("./lowering/context.js").Step} Step
 */

/**
 * @typedef {object} GhostTimes
 * @property {number} prefill_s of the whole prompt
 * @property {number | null} decode_s of one token; null for encoders
 * @property {number} memory_bytes that the engine will take, weights included
 */

const WINDOW_BYTES = 128 * 2 ** 20;
const WARM_RUNS = 3;
const DECODE_RUNS = 16;

/**
 * @param {Uint8Array} graph bytes of the `.onnx` file
 * @param {object} options
 * @param {Uint8Array} [options.encoder] bytes of the graph that reads what `graph` answers
 * @param {WebAssembly.Module} options.module
 * @param {import("./kernels.js").Kernels} options.kernels
 * @param {number} options.threads
 * @param {number} options.contextLength
 * @param {number} options.promptTokens
 * @param {number} options.past tokens in the KV cache while decoding; of an encoder-decoder those of the text
 * @param {() => number} options.clock milliseconds
 * @param {() => Promise<void>} options.pause lets an abort come through; throws when it has
 * @param {() => import("./thread_pool.js").ThreadHandle} [options.createWorker]
 * @returns {Promise<GhostTimes>}
 * @throws {FeatherweightError} unsupported, out_of_memory
 */
export async function ghostRun(graph, { encoder, module, kernels, threads, contextLength, promptTokens, past, clock, pause, createWorker }) {
  const real = lowerModel(graph, kernels, { contextLength, encoder });
  const { model, bytes } = inWindow(real);
  const weights = kernels.memory.allocate(bytes);
  kernels.memory.bytes().fill(FILL, weights, weights + bytes);
  const keeps = model.kind !== "encoder";
  const limit = Math.min(contextLength, model.positions);
  const rows = Math.max(DECODER_ROWS, promptTokens);
  const { maxRows, maxSlots } = keeps ? SIZES[model.kind](limit) : { maxRows: rows, maxSlots: alignedSlots(promptTokens) };
  const plan = new Plan(kernels, model, { weights, maxRows, maxSlots });
  const pool = new ThreadPool(kernels, threads - 1, createWorker);
  const { read, write } = RUNS[model.kind](plan, limit);
  /** @param {number} count @param {() => void} run @returns {Promise<number>} seconds */
  const middle = async (count, run) => {
    const times = [];
    for (let at = 0; at < count; at++) {
      const start = clock();
      run();
      times.push((clock() - start) / 1000);
      await pause();
    }
    return times.slice(WARM_RUNS).sort((a, b) => a - b)[(count - WARM_RUNS) >> 1];
  };
  try {
    await pool.join(module, plan.address);
    pool.use(threads);
    const prefill = await middle(WARM_RUNS + 3, () => read(promptTokens));
    const decode = keeps ? await middle(WARM_RUNS + DECODE_RUNS, () => write(past)) : null;
    if (keeps) plan.reserveSlots(maxSlots);
    return { prefill_s: prefill, decode_s: decode, memory_bytes: kernels.memory.top - bytes + real.weights.bytes };
  } finally {
    pool.stop();
  }
}

/**
 * What a model of each kind does with a prompt, and with a token of the answer after `past` others in the cache.
 * @type {Record<LoweredModel["kind"], (plan: Plan, limit: number) => {read: (tokens: number) => void, write: (past: number) => void}>}
 */
const RUNS = {
  decoder: (plan, limit) => ({ read: (tokens) => readInRuns(plan, tokens, 0), write: (past) => readInRuns(plan, 1, Math.min(past, limit - 1)) }),
  encoder: (plan) => ({ read: (tokens) => readInRuns(plan, tokens, 0), write: () => {} }),
  "encoder-decoder": (plan, limit) => {
    const { answer } = plan.model;
    const write = (/** @type {number} */ text) =>
      void plan.run([{ ids: [0], positions: [0], slot: alignedSlots(text), past: 0, text }], true, { begin: answer });
    const read = (/** @type {number} */ tokens) => {
      plan.run([{ ids: new Array(tokens).fill(0), positions: [...Array(tokens).keys()], slot: 0, past: 0 }], false, { end: answer });
      write(tokens);
    };
    return { read, write: (past) => write(Math.min(past, limit)) };
  },
};

/** @param {Plan} plan @param {number} tokens @param {number} before */
function readInRuns(plan, tokens, before) {
  for (let done = 0; done < tokens; done += plan.maxRows) {
    const ids = new Array(Math.min(plan.maxRows, tokens - done)).fill(0);
    plan.run([{ ids, positions: ids.map((_, at) => before + done + at), slot: 0, past: before + done }], done + ids.length === tokens);
  }
}

/**
 * The model with its weights wrapped around a window, and the bytes that they then take.
 * @param {LoweredModel} model
 * @returns {{model: LoweredModel, bytes: number}}
 */
function inWindow(model) {
  const { steps, weights } = model;
  if (weights.bytes <= WINDOW_BYTES) return { model, bytes: weights.bytes };
  const starts = [...new Set(steps.flatMap((step) => Object.values(step).flatMap((field) => (isWeight(field) ? [field.weight] : []))))].sort((a, b) => a - b);
  const largest = Math.max(...starts.map((start, at) => (starts[at + 1] ?? weights.bytes) - start));
  const wrapped = steps.map(
    (step) =>
      /** @type {Step} */ (
        Object.fromEntries(Object.entries(step).map(([name, field]) => [name, isWeight(field) ? { weight: field.weight % WINDOW_BYTES } : field]))
      ),
  );
  return { model: { ...model, steps: wrapped }, bytes: WINDOW_BYTES + largest };
}

/** @param {number | import("./lowering/context.js").Address} field @returns {field is {weight: number}} */
function isWeight(field) {
  return typeof field !== "number" && "weight" in field;
}
