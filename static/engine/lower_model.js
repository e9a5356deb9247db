/** Owns the way from a model file to steps: parse, rewrite, lower from the output backwards. */

import { FeatherweightError } from "../errors.js";
import { Graph } from "./graph.js";
import { LoweringContext } from "./lowering/context.js";
import { LOWERINGS } from "./lowering/registry.js";
import { parseModel } from "./onnx_model.js";
import { runPasses } from "./passes/passes.js";
import { KV_TYPE } from "./plan_format.js";
import { WeightLayout } from "./weight_layout.js";

/** What a KV cache may hold: float32, float16, or 8-bit codes with a scale per token and head. @typedef {"fp32" | "fp16" | "int8"} KvDtype */

/** @type {Readonly<Record<KvDtype, number>>} */
export const KV_TYPES = Object.freeze({ fp32: KV_TYPE.F32, fp16: KV_TYPE.F16, int8: KV_TYPE.I8 });

/**
 * A model before memory is laid out.
 * @typedef {object} LoweredModel
 * @property {import("./lowering/context.js").Step[]} steps
 * @property {import("./lowering/context.js").Buffer[]} buffers
 * @property {WeightLayout} weights
 * @property {{name: string, value: import("./lowering/context.js").Value}[]} outputs rows side by side; a decoder's are its logits
 * @property {import("./lowering/context.js").CacheShape} cache
 * @property {boolean} decoder whether the cache lives on between runs
 * @property {number} vocabulary token ids are below it
 * @property {number} positions a sequence is no longer
 * @property {number} types segments of tokens are below it; Infinity when the model does not tell them apart
 * @property {number | null} pad the token that positions do not count, where they are counted
 */

/**
 * @param {Uint8Array} bytes of the `.onnx` file
 * @param {import("./kernels.js").Kernels} kernels
 * @param {{kvDtype?: KvDtype, contextLength?: number}} [options] kvDtype is what a decoder's cache holds; an encoder's lives
 *   for one run and is exact
 * @returns {LoweredModel}
 * @throws {FeatherweightError} unsupported: an operator, option or shape that the engine has no kernel for
 */
export function lowerModel(bytes, kernels, { kvDtype = "fp16", contextLength = Infinity } = {}) {
  if (!(kvDtype in KV_TYPES)) throw new RangeError(`kvDtype is one of ${Object.keys(KV_TYPES).join(", ")}, not ${kvDtype}`);
  const graph = new Graph(parseModel(bytes));
  const decoder = graph.inputs.has("num_logits_to_keep");
  runPasses(graph);
  const kvType = decoder ? KV_TYPES[kvDtype] : KV_TYPE.F32;
  const context = new LoweringContext(graph, new WeightLayout(kernels), LOWERINGS, { kvType, contextLength });
  // The other outputs of a decoder are its cache.
  const outputs = graph.outputs.slice(0, decoder ? 1 : undefined).map((name) => ({ name, value: context.contiguous(context.value(name)) }));
  const { steps, buffers, weights, cache, vocabulary, positions, types, pad } = context;
  if (!cache || cache.causal !== decoder || !Number.isFinite(vocabulary) || (decoder && pad !== null)) {
    throw new FeatherweightError("unsupported", "The engine runs decoders and encoders with attention; this graph is neither.");
  }
  return { steps, buffers, weights, outputs, cache, decoder, vocabulary, positions, types, pad };
}
