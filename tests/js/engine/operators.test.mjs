/** Holds the lowering of operators to the steps they become, and to refusing what no kernel computes. */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";

import { instantiateKernels } from "../../../static/engine/kernels.js";
import { LoweringContext } from "../../../static/engine/lowering/context.js";
import { LOWERINGS } from "../../../static/engine/lowering/registry.js";
import { FUNCTION, GATED, KV_TYPE, OP, ROWS } from "../../../static/engine/plan_format.js";
import { WeightLayout } from "../../../static/engine/weight_layout.js";
import { BUILDS, compileKernels, kernelsMissing } from "./node_engine.mjs";
import { external, graphOf, integers, node, number } from "./small_graphs.mjs";

describe("the lowering of operators", { skip: kernelsMissing }, () => {
  let kernels;
  before(async () => {
    kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  });

  /** Lower the graph's output, with rows of some widths as its inputs. */
  function lower(nodes, widths, initializers = []) {
    const graph = graphOf(nodes, { inputs: [...Object.keys(widths), "attention_mask", "input_ids", "token_type_ids"], initializers });
    const context = new LoweringContext(graph, new WeightLayout(kernels), LOWERINGS, { kvType: KV_TYPE.I16, contextLength: 64 });
    for (const [name, width] of Object.entries(widths)) context.define(name, width, ROWS.ALL);
    return { context, value: context.value("y") };
  }
  const refused = { code: "unsupported" };

  const LENGTHS = [
    node("ReduceSum", ["attention_mask"], ["last"]),
    node("Shape", ["attention_mask"], ["total"]),
  ];
  const TABLES = [number("cosine", new Array(40 * 8).fill(1), [40, 8]), number("sine", new Array(40 * 8).fill(0), [40, 8])];
  const attention = (attributes, { inputs = ["q", "k", "v"], tables = [] } = {}) => [
    ...LENGTHS,
    node("GroupQueryAttention", [...inputs, "", "", "last", "total", ...tables], ["y"], { num_heads: 4, kv_num_heads: 2, ...attributes }),
  ];
  const WIDTHS = { q: 128, k: 64, v: 64 };

  test("attention takes its window, cap, scale and partial rotation along", () => {
    const attributes = { local_window_size: 8, softcap: 50, scale: 0.25, do_rotary: 1 };
    const { context } = lower(attention(attributes, { tables: ["cosine", "sine"] }), WIDTHS, TABLES);
    const [append, attend] = context.steps;
    assert.deepEqual([append.op, append.rotaryDim, append.headDim, append.kvType], [OP.APPEND_KV, 16, 32, KV_TYPE.I16]);
    assert.deepEqual([attend.op, attend.window, attend.softcap, attend.scale, attend.mode], [OP.ATTEND, 8, 50, 0.25, 1]);
    assert.equal(context.positions, 40);
    assert.equal(context.cache.pageBytes, 2 * kernels.fw_kv_head_bytes(32, KV_TYPE.I16));
  });

  test("layers of different heads lie behind each other in a page", () => {
    const nodes = [
      ...LENGTHS,
      node("GroupQueryAttention", ["q", "k", "v", "", "", "last", "total"], ["mid"], { num_heads: 4, kv_num_heads: 2 }),
      node("GroupQueryAttention", ["mid", "k2", "v2", "", "", "last", "total"], ["y"], { num_heads: 8, kv_num_heads: 1 }),
    ];
    const { context } = lower(nodes, { ...WIDTHS, k2: 16, v2: 16 });
    const first = 2 * kernels.fw_kv_head_bytes(32, KV_TYPE.I16);
    assert.deepEqual(context.steps.map(({ layerOffset }) => layerOffset), [0, 0, first, first]);
    assert.equal(context.cache.pageBytes, first + kernels.fw_kv_head_bytes(16, KV_TYPE.I16));
  });

  test("queries, keys and values may come side by side", () => {
    const { context } = lower(attention({}, { inputs: ["q", "", ""] }), { q: 256 });
    assert.deepEqual(["input", "second", "third"].map((field) => context.steps[0][field].offset), [0, 4 * 128, 4 * 192]);
    assert.deepEqual(["inputStride", "secondStride", "thirdStride"].map((field) => context.steps[0][field]), [256, 256, 256]);
  });

  for (const [why, attributes, widths, tables] of [
    ["heads that do not divide the width", { num_heads: 3 }, WIDTHS],
    ["no heads", { num_heads: 0 }, WIDTHS],
    ["a negative number of heads", { num_heads: -4, kv_num_heads: -2 }, WIDTHS],
    ["heads that do not share theirs evenly", { num_heads: 4, kv_num_heads: 3 }, { q: 128, k: 96, v: 96 }],
    ["keys of another width", {}, { ...WIDTHS, k: 128 }],
    ["values of another width", {}, { ...WIDTHS, v: 32 }],
    ["heads that are too wide", { num_heads: 1, kv_num_heads: 1 }, { q: 512, k: 512, v: 512 }],
    ["heads that are no multiple of 8", {}, { q: 16, k: 8, v: 8 }],
    ["a soft cap that is no number", { softcap: NaN }, WIDTHS],
    ["an endless soft cap", { softcap: Infinity }, WIDTHS],
    ["a smooth softmax", { smooth_softmax: 1 }, WIDTHS],
    ["interleaved rotation", { rotary_interleaved: 1 }, WIDTHS],
    ["rotation without tables", { do_rotary: 1 }, WIDTHS],
    ["a rotation wider than a head", { do_rotary: 1 }, { q: 32, k: 16, v: 16 }, ["cosine", "sine"]],
    ["a rotation of two widths", { do_rotary: 1 }, WIDTHS, ["cosine", "narrow"]],
    ["a rotary table that depends on the input", { do_rotary: 1 }, WIDTHS, ["q", "sine"]],
    ["a rotary table that is shorter than it says", { do_rotary: 1 }, WIDTHS, ["long", "sine"]],
  ]) {
    test(`attention with ${why} is refused`, () => {
      const nodes = [node("Reshape", ["cosine", "huge"], ["long"]), ...attention(attributes, { tables })];
      assert.throws(() => lower(nodes, widths, [...TABLES, number("narrow", new Array(40 * 4).fill(1), [40, 4]), integers("huge", [100000, 8])]), { code: "unsupported", message: /GroupQueryAttention/ });
    });
  }

  test("a rotated value that is read elsewhere, under any name, is refused", () => {
    const nodes = [
      node("Identity", ["q"], ["alias"]),
      ...attention({ do_rotary: 1 }, { inputs: ["alias", "k", "v"], tables: ["cosine", "sine"] }),
      node("Identity", ["q"], ["other"]),
    ];
    assert.throws(() => lower(nodes, WIDTHS, TABLES), { code: "unsupported", message: /read elsewhere/ });
  });

  test("rows are cut into heads for a norm, and joined again", () => {
    const nodes = [
      node("Reshape", ["q", "split"], ["heads"]),
      node("SimplifiedLayerNormalization", ["heads", "w"], ["normal"], { epsilon: 1e-6 }),
      node("Reshape", ["normal", "join"], ["y"]),
    ];
    const initializers = [integers("split", [0, 0, 4, 32]), integers("join", [0, 0, 128]), external("w", [32])];
    const { context, value } = lower(nodes, WIDTHS, initializers);
    assert.deepEqual(context.steps.map(({ op, heads, width }) => [op, heads, width]), [[OP.NORMALIZE, 4, 128]]);
    assert.deepEqual([value.width, value.heads], [128, 1]);
    for (const wrong of [[0, 0, 5, 32], [0, 0, 4, 24], [0, 0, 2, 2, 32], [0, 0, 4, 0], [4, 32, -1, 7], [1, 0, 4, 32]]) {
      assert.throws(() => lower(nodes, WIDTHS, [integers("split", wrong), ...initializers.slice(1)]), refused, String(wrong));
    }
    assert.throws(() => lower(nodes, WIDTHS, [...initializers.slice(0, 2), external("w", [128])]), refused);
  });

  test("numbers, vectors and rows are added and multiplied", () => {
    const initializers = [number("two", 2), external("bias", [128])];
    const steps = (opType, inputs) => lower([node(opType, inputs, ["y"])], { q: 128, r: 128 }, initializers).context.steps[0];
    assert.deepEqual([steps("Mul", ["two", "q"]).mode, steps("Mul", ["q", "two"]).scale], [FUNCTION.SCALE, 2]);
    assert.deepEqual([steps("Div", ["q", "two"]).mode, steps("Div", ["q", "two"]).scale], [FUNCTION.SCALE, 0.5]);
    assert.deepEqual([steps("Add", ["bias", "q"]).mode, steps("Add", ["bias", "q"]).secondStride], [FUNCTION.ADD, 0]);
    assert.equal(steps("Sub", ["q", "r"]).mode, FUNCTION.SUB);
    for (const [opType, inputs] of [["Div", ["q", "r"]], ["Add", ["q", "short"]], ["Mul", ["q", "k"]], ["Sub", ["two", "q"]]]) {
      assert.throws(() => lower([node(opType, inputs, ["y"])], WIDTHS, [...initializers, external("short", [127])]), refused, opType);
    }
  });

  test("activations and gates choose their function", () => {
    const mode = (opType, attributes) => lower([node(opType, ["q"], ["y"], attributes)], { q: 8 }).context.steps[0].mode;
    assert.equal(mode("Gelu", {}), FUNCTION.GELU);
    assert.equal(mode("Gelu", { approximate: "tanh" }), FUNCTION.GELU_TANH);
    assert.equal(mode("FastGelu", {}), FUNCTION.GELU_TANH);
    assert.equal(mode("QuickGelu", { alpha: 1.702 }), FUNCTION.QUICK_GELU);
    assert.equal(mode("Tanh", {}), FUNCTION.SOFT_CAP);
    const gated = { ...node("Gated", ["q", "r"], ["y"]), detail: { mode: FUNCTION.GELU, factor: 0 } };
    assert.equal(lower([gated], { q: 8, r: 8 }).context.steps[0].mode, FUNCTION.GELU + GATED);
    assert.throws(() => lower([gated], { q: 8, r: 16 }), refused);
    assert.throws(() => lower([node("FastGelu", ["q", "bias"], ["y"])], { q: 8 }, [external("bias", [8])]), refused);
  });

  test("a Split hands parts of rows on, and refuses parts that do not add up", () => {
    const split = [node("Split", ["q", "sizes"], ["y", "z"], { axis: -1 })];
    const { context, value } = lower(split, { q: 24 }, [integers("sizes", [16, 8])]);
    assert.deepEqual([value.width, value.offset, context.value("z").offset, context.steps.length], [16, 0, 64, 0]);
    for (const sizes of [[16, 16], [24, 0], [32, -8], [24]]) assert.throws(() => lower(split, { q: 24 }, [integers("sizes", sizes)]), refused);
  });

  const lookup = (indices, rows) => {
    const weight = { kind: "float", columns: rows, inner: 8, values: [external("table", [rows, 8])], transposed: false, bits: 0, blockSize: 0, scales: null, offsets: null };
    return { ...node("Embedding", [indices], ["y"]), detail: { weight } };
  };
  const COUNT = [
    node("Equal", ["input_ids", "pad"], ["same"]),
    node("Not", ["same"], ["other"]),
    node("Cast", ["other"], ["real"], { to: 7 }),
    node("CumSum", ["real", "one"], ["sum"]),
    node("Mul", ["sum", "real"], ["masked"]),
    node("Add", ["masked", "pad"], ["places"]),
  ];

  test("tables say how many ids, segments and positions there are", () => {
    assert.equal(lower([lookup("input_ids", 9)], {}).context.vocabulary, 9);
    assert.equal(lower([lookup("token_type_ids", 2)], {}).context.types, 2);
    const constants = [integers("pad", [1], []), integers("one", [1], [])];
    const { context } = lower([...COUNT, lookup("places", 20)], {}, constants);
    assert.deepEqual([context.pad, context.positions], [1, 18]);
    assert.throws(() => lower([...COUNT, lookup("places", 2)], {}, constants), refused);
    assert.throws(() => lower([...COUNT, lookup("places", 20)], {}, [integers("pad", [-1], []), constants[1]]), refused);
    assert.throws(() => lower([lookup("input_ids", 0)], {}), refused);
    assert.throws(() => lower([lookup("attention_mask", 9)], {}), refused);
  });

  test("tensors of the same bytes are placed once, whatever their names", () => {
    const layout = new WeightLayout(kernels);
    const place = layout.vector(external("one", [8]));
    assert.equal(layout.vector(external("two", [8])), place);
    assert.notEqual(layout.vector({ ...external("one", [8]), external: { location: "shard", offset: 64 } }), place);
    assert.notEqual(layout.vector({ ...external("one", [8]), external: { location: "other", offset: 0 } }), place);
    assert.notEqual(layout.vector(number("inner", [1, 2], [2])), layout.vector(number("inner", [3, 4], [2])));
  });

  test("a graph that repeats a constant for ever is refused in time", () => {
    const doubled = Array.from({ length: 60 }, (_, at) => node("Mul", [`c${at}`, `c${at}`], [`c${at + 1}`]));
    assert.throws(() => lower([...doubled, node("Mul", ["q", "c60"], ["y"])], { q: 8 }, [number("c0", 1)]), refused);
  });
});
