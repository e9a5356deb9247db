/** Owns the way from a model file to steps: parse, rewrite, lower from the output backwards. */

import { FeatherweightError } from "../errors.js";
import { Graph } from "./graph.js";
import { LoweringContext } from "./lowering/context.js";
import { LOWERINGS } from "./lowering/registry.js";
import { parseModel } from "./onnx_model.js";
import { runPasses } from "./passes/passes.js";
import { WeightLayout } from "./weight_layout.js";

/**
 * A model before memory is laid out.
 * @typedef {object} LoweredModel
 * @property {import("./lowering/context.js").Step[]} steps
 * @property {import("./lowering/context.js").Buffer[]} buffers
 * @property {WeightLayout} weights
 * @property {import("./lowering/context.js").Value} output
 * @property {string} outputName
 * @property {import("./lowering/context.js").CacheShape} cache
 * @property {boolean} decoder whether the cache lives on between runs
 * @property {number} vocabulary token ids are below it
 * @property {number} positions a sequence is no longer
 */

/**
 * @param {Uint8Array} bytes of the `.onnx` file
 * @param {import("./kernels.js").Kernels} kernels
 * @returns {LoweredModel}
 * @throws {FeatherweightError} unsupported: an operator, option or shape that the engine has no kernel for
 */
export function lowerModel(bytes, kernels) {
  const graph = new Graph(parseModel(bytes));
  const decoder = graph.inputs.has("num_logits_to_keep");
  const [outputName, second] = graph.outputs;
  if (second && !decoder) {
    throw new FeatherweightError("unsupported", `The engine gives one output of an encoder; this graph has "${second}" too.`);
  }
  runPasses(graph);
  const context = new LoweringContext(graph, new WeightLayout(kernels), LOWERINGS);
  const output = context.value(outputName);
  const { steps, buffers, weights, cache, vocabulary, positions } = context;
  if (!cache || cache.half !== decoder || output.stride !== output.width || output.offset !== 0 || !Number.isFinite(vocabulary)) {
    throw new FeatherweightError("unsupported", "The engine runs decoders and encoders with attention; this graph is neither.");
  }
  return { steps, buffers, weights, output, outputName, cache, decoder, vocabulary, positions };
}
