/** Owns the way from a model file to steps: parse, rewrite, lower from the output backwards. */

import { FeatherweightError } from "../errors.js";
import { Graph } from "./graph.js";
import { joinSteps } from "./joined_steps.js";
import { LoweringContext } from "./lowering/context.js";
import { storeText } from "./lowering/multi_head_attention.js";
import { LOWERINGS } from "./lowering/registry.js";
import { parseModel } from "./onnx_model.js";
import { STATES } from "./passes/form_cross_attention.js";
import { runPasses } from "./passes/passes.js";
import { KV_TYPE, ROWS, SEES } from "./plan_format.js";
import { WeightLayout } from "./weight_layout.js";

/** What a KV cache may hold: float32, or 16-bit or 8-bit codes with a scale per token and head. @typedef {"fp32" | "int16" | "int8"} KvDtype */

/** @type {Readonly<Record<KvDtype, number>>} */
export const KV_TYPES = Object.freeze({ fp32: KV_TYPE.F32, int16: KV_TYPE.I16, int8: KV_TYPE.I8 });

/**
 * A model before memory is laid out.
 * @typedef {object} LoweredModel
 * @property {import("./lowering/context.js").Step[]} steps
 * @property {import("./lowering/context.js").Buffer[]} buffers
 * @property {WeightLayout} weights
 * @property {{name: string, value: import("./lowering/context.js").Value}[]} outputs rows side by side; a decoder's are its logits
 * @property {import("./lowering/context.js").CacheShape} cache
 * @property {"decoder" | "encoder" | "encoder-decoder"} kind
 * @property {number} answer the first step that runs for tokens of an answer; those before read the text. 0 but for
 *   encoder-decoders
 * @property {number} vocabulary token ids are below it
 * @property {number} positions a sequence is no longer
 * @property {number} types segments of tokens are below it; Infinity when the model does not tell them apart
 * @property {number | null} pad the token that positions do not count, where they are counted
 */

/**
 * @param {Uint8Array} bytes of the `.onnx` file
 * @param {import("./kernels.js").Kernels} kernels
 * @param {{kvDtype?: KvDtype, contextLength?: number, encoder?: Uint8Array, locate?: (location: string) => string}} [options]
 *   kvDtype is what a decoder's cache holds; an encoder's lives for one run and is exact. With the bytes of an `encoder` the
 *   graph answers what that has read. `locate` gives files of the same bytes one name
 * @returns {LoweredModel}
 * @throws {FeatherweightError} unsupported: an operator, option or shape that the engine has no kernel for
 */
export function lowerModel(bytes, kernels, { kvDtype = "int16", contextLength = Infinity, encoder, locate = (location) => location } = {}) {
  if (!(kvDtype in KV_TYPES)) throw new RangeError(`kvDtype is one of ${Object.keys(KV_TYPES).join(", ")}, not ${kvDtype}`);
  const graph = readGraph(bytes, locate);
  const weights = new WeightLayout(kernels);
  const begin = (/** @type {Graph} */ first, /** @type {number} */ kvType) => new LoweringContext(first, weights, LOWERINGS, { kvType, contextLength });
  if (encoder) return lowerBoth(begin(readGraph(encoder, locate), KV_TYPE.F32), graph, KV_TYPES[kvDtype]);
  const decoder = graph.inputs.has("num_logits_to_keep");
  const context = begin(graph, decoder ? KV_TYPES[kvDtype] : KV_TYPE.F32);
  // The other outputs of a decoder are its cache.
  const outputs = graph.outputs.slice(0, decoder ? 1 : undefined).map((name) => outputOf(context, name));
  const wanted = decoder ? [SEES.PAST] : [SEES.ALL];
  if (!keeps(context, wanted) || !Number.isFinite(context.vocabulary) || (decoder && context.pad !== null)) {
    throw new FeatherweightError("unsupported", "The engine runs decoders and encoders with attention; this graph is neither.");
  }
  return { ...parts(context), outputs, kind: decoder ? "decoder" : "encoder", answer: 0 };
}

/**
 * An encoder and the decoder that answers, as one plan: first what reads a text and stores what the decoder sees of it,
 * then what runs for each token of the answer.
 * @param {LoweringContext} reader
 * @param {Graph} graph of the decoder
 * @param {number} kvType of its cache
 * @returns {LoweredModel}
 */
function lowerBoth(reader, graph, kvType) {
  const states = reader.value(reader.graph.outputs[0]);
  const writer = reader.followedBy(graph, kvType);
  writer.values.set(STATES, states);
  for (const node of graph.all("CrossAttention")) storeText(writer, node);
  // What the text left beside the cache is gone when the answer begins.
  writer.values.clear();
  writer.quantized.clear();
  writer.single = true;
  const answer = writer.steps.length;
  const outputs = [outputOf(writer, graph.outputs[0])];
  const sound = keeps(reader, [SEES.ALL]) && keeps(writer, [SEES.PAST, SEES.TEXT]) && [reader, writer].every(({ vocabulary, pad }) => Number.isFinite(vocabulary) && pad === null);
  if (!sound || reader.graph.outputs.length !== 1 || states.rowsKind !== ROWS.ALL) {
    throw new FeatherweightError("unsupported", "The engine runs an encoder's states and a decoder that reads them; these graphs are something else.");
  }
  const smaller = (/** @type {"vocabulary" | "positions" | "types"} */ limit) => Math.min(reader[limit], writer[limit]);
  const cache = { ...writer.cache, pageBytes: Math.max(reader.cache.pageBytes, writer.cache.pageBytes) };
  const limits = { vocabulary: smaller("vocabulary"), positions: smaller("positions"), types: smaller("types") };
  return { ...parts(writer), ...limits, cache, outputs, kind: "encoder-decoder", answer };
}

/** @param {Uint8Array} bytes @param {(location: string) => string} locate */
function readGraph(bytes, locate) {
  const graph = new Graph(parseModel(bytes));
  for (const { external } of graph.initializers.values()) if (external) external.location = locate(external.location);
  runPasses(graph);
  return graph;
}

/** @param {LoweringContext} context @param {string} name */
function outputOf(context, name) {
  return { name, value: context.contiguous(context.value(name)) };
}

/** Whether the cache is for layers of these kinds and no other. @param {LoweringContext} context @param {readonly number[]} kinds */
function keeps({ cache }, kinds) {
  return cache.bytes.every((bytes, kind) => bytes > 0 === kinds.includes(kind));
}

/** @param {LoweringContext} context */
function parts({ steps, buffers, weights, cache, vocabulary, positions, types, pad }) {
  return { steps: joinSteps(steps), buffers, weights, cache, vocabulary, positions, types, pad };
}
