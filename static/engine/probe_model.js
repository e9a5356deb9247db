/**
 * Owns a model of no use but to be timed: for each operator class a part of the plan, over synthetic weights that are far
 * more than a processor's caches hold.
 */

import { Graph } from "./graph.js";
import { joinSteps } from "./joined_steps.js";
import { emitAttention } from "./lowering/attention.js";
import { LoweringContext, emitElementwise, read } from "./lowering/context.js";
import { FUNCTION, GATED, KV_TYPE, OP, ROWS, SEES } from "./plan_format.js";
import { WeightLayout } from "./weight_layout.js";

/**
 * @typedef {import("./lower_model.js").LoweredModel} LoweredModel
 * @typedef {import("./kernels.js").Kernels} Kernels
 * @typedef {import("./lowering/context.js").Value} Value
 */

/**
 * Some steps of the plan and what one run of them does: bytes and multiply-adds for each row, or over `past` tokens.
 * @typedef {{begin: number, end: number, bytes: number, macs: number}} Part
 */

/** @typedef {"linear_4bit" | "linear_8bit" | "linear_float"} LinearClass */

/**
 * @typedef {object} ProbeModel
 * @property {LoweredModel} model
 * @property {Record<LinearClass, Part>} linear all weights once
 * @property {Record<LinearClass, Part>} linearFew a few of them, for many rows
 * @property {Part} attention bytes and multiply-adds for each token that a row sees, over a cache of PROBE_CONTEXT tokens that is
 *   as large as the weights
 * @property {Part} attentionFew some of it, for many rows
 * @property {Part} elementwise
 * @property {Part} steps that do next to nothing, of all threads and of one in turn
 */

const WIDTH = 1024;
const FEW = 4;
const LAYERS = 8;
const HEADS = 16;
const KV_HEADS = 4;
const HEAD_DIM = 64;
/** What a layer keeps of a token, 16-bit codes with a scale per head, and what a row multiplies with it. */
const KV_BYTES = 2 * KV_HEADS * (HEAD_DIM * 2 + 4);
const SEEN_MACS = 2 * HEADS * HEAD_DIM;
const STEPS = 256;
/** Of a product that is next to nothing, but that all threads have a part in. */
const SMALL = { width: 32, columns: 128 };
export const PROBE_CONTEXT = 1024;

/** @type {Record<LinearClass, {op: number, bits: number}>} */
const CLASSES = {
  linear_4bit: { op: OP.MATMUL_Q4, bits: 4 },
  linear_8bit: { op: OP.MATMUL_Q8, bits: 8 },
  linear_float: { op: OP.MATMUL_Q16, bits: 16 },
};

/**
 * @param {Kernels} kernels
 * @param {number} weightBytes of the synthetic weights, which all classes share
 * @returns {ProbeModel}
 */
export function probeModel(kernels, weightBytes) {
  const graph = new Graph({ nodes: [], initializers: new Map(), inputs: [], outputs: [] });
  const layout = new WeightLayout(kernels);
  layout.reserve(weightBytes);
  const context = new LoweringContext(graph, layout, {}, { kvType: KV_TYPE.I16, contextLength: PROBE_CONTEXT });
  const input = context.define("input", WIDTH, ROWS.ALL);
  const other = context.define("other", WIDTH, ROWS.ALL);
  /** @param {() => {bytes: number, macs: number}} emit @returns {Part} */
  const part = (emit) => {
    const begin = context.steps.length;
    const work = emit();
    return { begin, end: context.steps.length, ...work };
  };
  const linear = /** @type {Record<LinearClass, Part>} */ ({});
  const linearFew = /** @type {Record<LinearClass, Part>} */ ({});
  for (const name of /** @type {LinearClass[]} */ (Object.keys(CLASSES))) {
    const matrixBytes = packedBytes(kernels, name);
    linear[name] = part(() => emitProducts(context, input, name, Math.floor(weightBytes / matrixBytes), matrixBytes));
    const { begin } = linear[name];
    const end = Math.min(linear[name].end, begin + FEW + 1);
    linearFew[name] = { begin, end, bytes: FEW * matrixBytes, macs: FEW * WIDTH * WIDTH };
  }
  const layerBytes = PROBE_CONTEXT * KV_BYTES;
  const attention = part(() => emitAttentions(context, Math.floor(weightBytes / layerBytes)));
  const attentionFew = { begin: attention.begin, end: attention.begin + 2 * LAYERS, bytes: LAYERS * KV_BYTES, macs: LAYERS * SEEN_MACS };
  const elementwise = part(() => emitRows(context, input, other));
  const small = context.quantize({ ...input, width: SMALL.width }, CLASSES.linear_4bit.bits);
  const steps = part(() => emitSmallSteps(context, small));
  const model = {
    // Small steps stay apart: what one costs is asked.
    steps: [...joinSteps(context.steps.slice(0, steps.begin)), ...context.steps.slice(steps.begin)],
    buffers: context.buffers,
    weights: layout,
    outputs: [{ name: "input", value: input }],
    cache: context.cache,
    kind: /** @type {const} */ ("decoder"),
    answer: 0,
    vocabulary: 1,
    positions: PROBE_CONTEXT,
    types: Infinity,
    pad: null,
  };
  return { model, linear, linearFew, attention, attentionFew, elementwise, steps };
}

/** @param {Kernels} kernels @param {LinearClass} name */
function packedBytes(kernels, name) {
  return kernels.fw_packed_block_bytes(CLASSES[name].bits, 0) * (WIDTH / 8) * (WIDTH / 32);
}

/** @param {LoweringContext} context @param {Value} input @param {LinearClass} name @param {number} count @param {number} matrixBytes */
function emitProducts(context, input, name, count, matrixBytes) {
  const { op, bits } = CLASSES[name];
  const source = context.quantize(input, bits);
  const output = context.define(name, WIDTH, ROWS.ALL);
  for (let at = 0; at < count; at++) {
    const weight = { weight: at * matrixBytes };
    context.emit({ op, rowsKind: ROWS.ALL, mode: 0, input: source, weight, width: WIDTH, columns: WIDTH, ...read("output", output) });
  }
  return { bytes: count * matrixBytes, macs: count * WIDTH * WIDTH };
}

/** @param {LoweringContext} context @param {import("./lowering/context.js").Address} source */
function emitSmallSteps(context, source) {
  const product = context.define("small", SMALL.columns, ROWS.ALL);
  for (let at = 0; at < STEPS; at += 2) {
    context.emit({ op: OP.MATMUL_Q4, rowsKind: ROWS.ALL, mode: 0, input: source, weight: { weight: 0 }, ...SMALL, ...read("output", product) });
    emitElementwise(context, node(`copy${at}`), { mode: FUNCTION.COPY, a: { ...product, width: 8 } });
  }
  return { bytes: 0, macs: 0 };
}

/** @param {LoweringContext} context @param {number} layers */
function emitAttentions(context, layers) {
  const q = context.define("q", HEADS * HEAD_DIM, ROWS.ALL);
  const k = context.define("k", KV_HEADS * HEAD_DIM, ROWS.ALL);
  const v = context.define("v", KV_HEADS * HEAD_DIM, ROWS.ALL);
  for (let layer = 0; layer < layers; layer++) {
    emitAttention(context, node(`attention${layer}`), [q, k, v], { heads: HEADS, kvHeads: KV_HEADS, sees: SEES.PAST });
  }
  return { bytes: layers * KV_BYTES, macs: layers * SEEN_MACS };
}

/** What a layer does beside its products: norm with skip, quantizing, a gated activation. @param {LoweringContext} context @param {Value} a @param {Value} b */
function emitRows(context, a, b) {
  const blockBytes = context.weights.kernels.fw_activation_block_bytes();
  for (let at = 0; at < LAYERS; at++) {
    const normal = context.define(`normal${at}`, WIDTH, ROWS.ALL);
    const total = context.define(`total${at}`, WIDTH, ROWS.ALL);
    context.emit({
      op: OP.NORMALIZE, rowsKind: ROWS.ALL, mode: 0, ...read("input", a), ...read("second", b), weight: { weight: 0 },
      total: { buffer: total.buffer, offset: 0 }, width: WIDTH, heads: 1, scale: 1e-6, ...read("output", normal),
    });
    context.quantize(normal, 8);
    emitElementwise(context, node(`gated${at}`), { mode: FUNCTION.QUICK_GELU + GATED, factor: 1, a, b });
  }
  return { bytes: LAYERS * (4 * (4 + 1 + 3) * WIDTH + (WIDTH / 32) * blockBytes), macs: 0 };
}

/** @param {string} name @returns {import("./graph.js").Node} */
function node(name) {
  return { name, opType: "Probe", domain: "featherweight", inputs: [], outputs: [name], attributes: {} };
}
