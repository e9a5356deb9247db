/** Owns the loading of a model into the engine: kernels, lowering, weights, plan and threads, in this order. */

import { instantiateKernels } from "./kernels.js";
import { lowerModel } from "./lower_model.js";
import { Plan, alignedSlots } from "./plan.js";
import { ThreadPool } from "./thread_pool.js";
import { loadWeights } from "./weight_loader.js";

/** Rows that one run of a decoder takes: more gain nothing, and the arena grows with them. */
const DECODER_ROWS = 128;
/** Rows of an encoder's run; a sequence has to fit. */
const ENCODER_ROWS = 512;

/**
 * @typedef {object} EngineOptions
 * @property {WebAssembly.Module} module the compiled kernels
 * @property {number} threads
 * @property {boolean} shared whether the module wants shared memory
 * @property {number} contextLength tokens that the KV cache may hold
 * @property {(location: string) => Promise<Uint8Array>} readShard
 * @property {() => void} [check] throws when loading was aborted
 * @property {() => import("./thread_pool.js").ThreadHandle} [createWorker]
 */

/**
 * @typedef {object} Engine
 * @property {Plan} plan
 * @property {ThreadPool} pool
 * @property {number} contextLength what the model and the caller allow
 */

/**
 * @param {Uint8Array} graph bytes of the `.onnx` file
 * @param {EngineOptions} options
 * @returns {Promise<Engine>}
 */
export async function loadEngine(graph, { module, threads, shared, contextLength, readShard, check = () => {}, createWorker }) {
  const kernels = await instantiateKernels(module, shared);
  const model = lowerModel(graph, kernels);
  const limit = Math.min(contextLength, model.positions);
  const maxRows = model.decoder ? DECODER_ROWS : Math.max(ENCODER_ROWS, limit);
  // Sequences of an encoder each start at an aligned slot: in the worst case all have one token.
  const maxSlots = model.decoder ? limit : maxRows * alignedSlots(1);
  const weights = kernels.memory.allocate(model.weights.bytes);
  await loadWeights(kernels, model.weights, weights, readShard, check);
  const plan = new Plan(kernels, model, { weights, threads, maxRows, maxSlots });
  const pool = new ThreadPool(kernels, plan.address);
  await pool.start(module, threads - 1, createWorker);
  return { plan, pool, contextLength: limit };
}
