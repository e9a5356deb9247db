/** Owns the loading of a model into the engine: lowering, plan and threads first, then the weights as they arrive. */

import { lowerModel } from "./lower_model.js";
import { Plan, alignedSlots } from "./plan.js";
import { DECODER_ROWS, ENCODER_ROWS } from "./plan_format.js";
import { ThreadChoice } from "./thread_choice.js";
import { ThreadPool } from "./thread_pool.js";
import { WeightStream } from "./weight_stream.js";

/** The runs that threads are measured by take about a millisecond: so many weights, and for encoders some rows. */
const MEASURED_WEIGHTS = 16e6;
const MEASURED_ROWS = 8;

/**
 * @typedef {object} EngineOptions
 * @property {Uint8Array} [encoder] bytes of the graph that reads what `graph` answers, of an encoder-decoder
 * @property {(location: string) => string} [locate] gives external-data files of the same bytes one name
 * @property {WebAssembly.Module} module the compiled kernels
 * @property {import("./kernels.js").Kernels} kernels an instance of them
 * @property {number} threads more than 1 only where the kernels' memory is shared
 * @property {boolean} [measure] whether fewer are used where that is faster
 * @property {number} contextLength tokens that the KV cache may hold
 * @property {import("./lower_model.js").KvDtype} [kvDtype] what the cache of a decoder holds
 * @property {(locations: readonly string[], take: TakeWeights) => Promise<void>} readShards external-data files by the
 *   names that the graph gives them: gives every byte once, in any order
 * @property {() => import("./thread_pool.js").ThreadHandle} [createWorker]
 */

/**
 * What a plan has room for, by the tokens that a sequence may have. Those of an encoder each start at an aligned slot: in
 * the worst case all have one token. An answer follows its text.
 * @type {Record<import("./lower_model.js").LoweredModel["kind"], (limit: number) => {maxRows: number, maxSlots: number}>}
 */
export const SIZES = {
  decoder: (limit) => ({ maxRows: DECODER_ROWS, maxSlots: limit }),
  encoder: (limit) => ({ maxRows: Math.max(ENCODER_ROWS, limit), maxSlots: Math.max(ENCODER_ROWS, limit) * alignedSlots(1) }),
  "encoder-decoder": (limit) => ({ maxRows: limit, maxSlots: alignedSlots(limit) + limit }),
};

/** @typedef {(location: string, offset: number, bytes: Uint8Array) => void} TakeWeights */

/**
 * @typedef {object} Engine
 * @property {Plan} plan
 * @property {ThreadPool} pool
 * @property {ThreadChoice} choice
 * @property {number} contextLength what the model and the caller allow
 */

/** A short run that costs what real ones cost; it leaves nothing in the cache that is read. @param {Plan} plan @returns {() => void} */
function standIn(plan) {
  const { kind, answer: begin } = plan.model;
  const ids = new Array(kind === "encoder" ? MEASURED_ROWS : 1).fill(0);
  const segment = { ids, positions: [...ids.keys()], slot: 0, past: 0, text: kind === "encoder-decoder" ? 1 : 0 };
  const end = plan.stepsOf(MEASURED_WEIGHTS, begin);
  return () => void plan.run([segment], false, { begin, end });
}

/**
 * @param {Uint8Array} graph bytes of the `.onnx` file; of an encoder-decoder those of the decoder
 * @param {EngineOptions} options
 * @returns {Promise<Engine>}
 * @throws {FeatherweightError} unsupported before a shard is read, where the engine cannot run the graph; out_of_memory
 */
export async function loadEngine(graph, { encoder, locate, module, kernels, threads, measure = false, contextLength, kvDtype, readShards, createWorker }) {
  // The scripts of the threads start while the graph is read.
  const pool = new ThreadPool(kernels, threads - 1, createWorker);
  try {
    const model = lowerModel(graph, kernels, { kvDtype, contextLength, encoder, locate });
    const limit = Math.min(contextLength, model.positions);
    const { maxRows, maxSlots } = SIZES[model.kind](limit);
    const weights = kernels.memory.allocate(model.weights.bytes);
    const plan = new Plan(kernels, model, { weights, maxRows, maxSlots });
    const joined = pool.join(module, plan.address);
    const stream = new WeightStream(kernels, model.weights, weights);
    await Promise.all([joined, readShards(stream.locations, (location, offset, bytes) => stream.take(location, offset, bytes))]);
    stream.finish();
    const choice = new ThreadChoice(threads, (count) => pool.use(count));
    if (measure) choice.measure(standIn(plan));
    return { plan, pool, choice, contextLength: limit };
  } catch (error) {
    pool.stop();
    throw error;
  }
}
