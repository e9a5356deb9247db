/** Holds attention of encoders and encoder-decoders to what it adds to its scores, and to refusing what no kernel adds. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";

import { instantiateKernels } from "../../../static/engine/kernels.js";
import { LoweringContext } from "../../../static/engine/lowering/context.js";
import { storeText } from "../../../static/engine/lowering/multi_head_attention.js";
import { LOWERINGS } from "../../../static/engine/lowering/registry.js";
import { formCrossAttention } from "../../../static/engine/passes/form_cross_attention.js";
import { formEmbedding } from "../../../static/engine/passes/form_embedding.js";
import { formLinear } from "../../../static/engine/passes/form_linear.js";
import { BIAS_MARGIN, FUNCTION, KV_TYPE, OP, ROWS, SEES } from "../../../static/engine/plan_format.js";
import { WeightLayout } from "../../../static/engine/weight_layout.js";
import { BUILDS, compileKernels, kernelsMissing } from "./node_engine.mjs";
import { external, graphOf, integers, node, number } from "./small_graphs.mjs";

const WIDTH = 32;
const PAST = ["past_key_values.0.decoder.key", "past_key_values.0.decoder.value"];
const TEXT = ["past_key_values.0.encoder.key", "past_key_values.0.encoder.value"];
const ROWS_IN = ["q", "k", "v"];
const INPUTS = [...ROWS_IN, ...PAST, ...TEXT, "input_ids", "attention_mask", "encoder_attention_mask", "encoder_hidden_states"];
const CONSTANTS = [
  ...[["zero", 0], ["one", 1], ["low", -3], ["high", 3]].map(([name, value]) => integers(name, [value], [])),
  integers("axis0", [0]), integers("axis1", [1]), integers("scalar", []), integers("end", [2 ** 40]), integers("heads", [0, 0, 2, 16]),
  number("masked", -10000), number("1", 1), number("mask row", [0, -10000], [1, 2]), number("mask column", [-10000, -10000], [2, 1]),
  integers("buckets", [3, 3, 2, 0, 1, 2, 2]), integers("past buckets", [3, 3, 2, 0]), external("learned", [4, 2]),
];

/** Positions of the tokens of a run in a text ("row"), or behind a cache ("queries", "keys"). */
const POSITIONS = [
  node("Shape", ["input_ids"], ["new shape"], { start: 1, end: 2 }),
  node("Reshape", ["new shape", "scalar"], ["new"]),
  node("Shape", [PAST[0]], ["past shape"], { start: 2, end: 3 }),
  node("Reshape", ["past shape", "scalar"], ["past"]),
  node("Add", ["past", "new"], ["all"]),
  node("Range", ["zero", "new", "one"], ["row"]),
  node("Range", ["past", "all", "one"], ["queries"]),
  node("Range", ["zero", "all", "one"], ["keys"]),
];
const PADDING = [
  node("Unsqueeze", ["attention_mask", "axis1"], ["wide"]),
  node("Cast", ["wide"], ["flags"], { to: 1 }),
  node("Sub", ["1", "flags"], ["hidden"]),
  node("Mul", ["hidden", "masked"], ["padding"]),
];
const LEARNED = [
  node("Gather", ["learned", "buckets"], ["chosen"], { axis: 0 }),
  node("Transpose", ["chosen"], ["table"], { perm: [1, 0] }),
  node("Gather", ["learned", "past buckets"], ["past chosen"], { axis: 0 }),
  node("Transpose", ["past chosen"], ["past part"], { perm: [1, 0] }),
  node("Concat", ["past part", "mask column"], ["past table"], { axis: 1 }),
];
const byDistance = (table, [low, high], [keys, queries] = ["row", "row"]) => [
  node("Unsqueeze", [keys, "axis0"], ["across"]),
  node("Unsqueeze", [queries, "axis1"], ["down"]),
  node("Sub", ["across", "down"], ["distance"]),
  node("Clip", ["distance", low, high], ["clipped"]),
  node("Sub", ["clipped", low], ["index"]),
  node("Gather", [table, "index"], ["by distance"], { axis: 1 }),
  node("Unsqueeze", ["by distance", "axis0"], ["bias"]),
];
const attention = (bias, { past = [], ...attributes } = {}) =>
  node("MultiHeadAttention", [...ROWS_IN, "", "", bias, ...past], ["y"], { num_heads: 2, scale: 1, ...attributes });

describe("attention with something added to its scores", { skip: kernelsMissing }, () => {
  let kernels;
  before(async () => {
    kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  });

  function lower(nodes, { constants = CONSTANTS, inputs = ROWS_IN } = {}) {
    const graph = graphOf([...POSITIONS, ...PADDING, ...LEARNED, ...nodes], { inputs: INPUTS, initializers: constants });
    for (const pass of [formLinear, formEmbedding, formCrossAttention]) pass(graph);
    const context = new LoweringContext(graph, new WeightLayout(kernels), LOWERINGS, { kvType: KV_TYPE.I16, contextLength: 64 });
    for (const name of inputs) context.define(name, WIDTH, ROWS.ALL);
    for (const crossed of graph.all("CrossAttention")) storeText(context, crossed);
    context.value("y");
    return context;
  }
  const refused = { code: "unsupported" };

  test("padding is left out", () => {
    const [append, attend] = lower([attention("padding")]).steps;
    assert.deepEqual([append.op, attend.op, attend.mode, attend.scale, attend.bias], [OP.APPEND_KV, OP.ATTEND, SEES.ALL, 1, undefined]);
  });

  test("numbers learned by distance become a table of all heads, with margins", () => {
    const context = lower([...byDistance("table", ["low", "high"]), node("Add", ["bias", "padding"], ["both"]), attention("both")]);
    const attend = context.steps[1];
    assert.deepEqual([attend.mode, attend.width], [SEES.ALL, 2 * (3 + BIAS_MARGIN) + 1]);
    const base = kernels.memory.allocate(context.weights.bytes);
    const source = kernels.memory.allocate(4 * 8);
    kernels.memory.floats(source, 8).set([0, 10, 1, 11, 2, 12, 3, 13]);
    const [{ place }] = context.weights.placements;
    assert.ok(place(kernels, base, source, 0, 4));
    const table = [...kernels.memory.floats(base + attend.bias.weight, 2 * attend.width)];
    assert.deepEqual(table.slice(BIAS_MARGIN - 1, BIAS_MARGIN + 8), [3, 3, 3, 2, 0, 1, 2, 2, 2]);
    assert.deepEqual(table.slice(attend.width + BIAS_MARGIN - 1, attend.width + BIAS_MARGIN + 8), [13, 13, 13, 12, 10, 11, 12, 12, 12]);
  });

  test("later keys are not looked at, whether their column stands alone or behind what was learned", () => {
    const distances = ["keys", "queries"];
    const plain = lower([...byDistance("mask row", ["zero", "one"], distances), attention("bias", { past: PAST })]);
    assert.deepEqual([plain.steps[1].mode, plain.steps[1].bias], [SEES.PAST, undefined]);
    const learned = lower([...byDistance("past table", ["low", "one"], distances), attention("bias", { past: PAST })]);
    assert.deepEqual([learned.steps[1].mode, learned.steps[1].width], [SEES.PAST, 2 * (3 + BIAS_MARGIN) + 1]);
  });

  const cached = (table, bounds, positions) => [...byDistance(table, bounds, positions), attention("bias", { past: PAST })];
  for (const [why, nodes] of [
    ["rows that see later ones of a cache", [attention("", { past: PAST })]],
    ["a cache of another name", [...byDistance("mask row", ["zero", "one"], ["keys", "queries"]), attention("bias", { past: TEXT })]],
    ["later keys masked without a cache", [...byDistance("mask row", ["zero", "one"]), attention("bias")]],
    ["queries in the place of keys", cached("past table", ["low", "one"], ["queries", "keys"])],
    ["a mask that begins at a distance", cached("past table", ["low", "high"], ["keys", "queries"])],
    ["a table that is shorter than its distances", [...byDistance("past part", ["low", "high"]), attention("bias")]],
    ["distances that are not clipped alike", [...byDistance("table", ["low", "high"]).map((item) => (item.outputs[0] === "index" ? { ...item, inputs: ["clipped", "zero"] } : item)), attention("bias")]],
    ["an endless distance", [...byDistance("table", ["past", "high"]), attention("bias")]],
    ["other heads than its table", [...byDistance("table", ["low", "high"]), attention("bias", { num_heads: 4 })]],
    ["a bias that is given", [attention("q")]],
    ["no heads", [attention("", { num_heads: 0 })]],
  ]) {
    test(`attention with ${why} is refused`, () => assert.throws(() => lower(nodes), refused));
  }

  test("a bucket that the table does not have is refused", () => {
    const nodes = [...byDistance("table", ["low", "high"]), attention("bias")];
    for (const bucket of [4, -1]) {
      const constants = [...CONSTANTS.filter(({ name }) => name !== "buckets"), integers("buckets", [3, 3, 2, bucket, 1, 2, 2])];
      assert.throws(() => lower(nodes, { constants }), refused);
    }
  });

  const crossed = (states = "encoder_hidden_states") => [
    node("Shape", [TEXT[0]], ["seen"], { start: 2, end: 3 }),
    node("Slice", [states, "seen", "end", "axis1"], ["unseen"]),
    ...["k", "v"].flatMap((name, at) => [
      node("MatMul", ["unseen", `w${name}`], [`${name}1`]),
      node("Reshape", [`${name}1`, "heads"], [`${name}2`]),
      node("Transpose", [`${name}2`], [`${name}3`], { perm: [0, 2, 1, 3] }),
      node("Concat", [TEXT[at], `${name}3`], [`${name}4`], { axis: 2 }),
    ]),
    node("MultiHeadAttention", ["q", "k4", "v4", "", "", ""], ["y"], { num_heads: 2 }),
  ];
  const weights = { constants: [...CONSTANTS, external("wk", [WIDTH, WIDTH]), external("wv", [WIDTH, WIDTH])], inputs: ["q", "encoder_hidden_states"] };

  test("keys and values of a text are stored before a query reads them", () => {
    const { steps, cache } = lower(crossed(), weights);
    assert.deepEqual(steps.map(({ op }) => op), [OP.QUANTIZE, OP.MATMUL_Q16, OP.MATMUL_Q16, OP.APPEND_KV, OP.ATTEND]);
    assert.deepEqual([steps[3].heads, steps[4].mode, steps[4].heads], [0, SEES.TEXT, 2]);
    assert.deepEqual(cache.bytes, [0, 0, 2 * kernels.fw_kv_head_bytes(16, KV_TYPE.I16)]);
  });

  test("keys of anything but the text are refused", () => {
    assert.throws(() => lower(crossed("q"), weights), refused);
    assert.throws(() => lower(crossed().map((item) => (item.opType === "Concat" ? { ...item, inputs: [PAST[0], item.inputs[1]] } : item)), weights), refused);
    assert.throws(() => lower(crossed().map((item) => (item.opType === "Transpose" ? { ...item, attributes: { perm: [0, 1, 2, 3] } } : item)), weights), refused);
  });

  test("Clip has a step where its bounds lie around 0", () => {
    const clip = (low, high) => lower([node("Clip", ["q", low, high], ["y"])]).steps;
    assert.deepEqual(clip("low", "high").map(({ mode, scale }) => [mode, scale]), [[FUNCTION.CLIP, 3]]);
    for (const bounds of [["zero", "high"], ["low", "one"], ["high", "low"], ["low", ""]]) assert.throws(() => clip(...bounds), refused);
  });
});
