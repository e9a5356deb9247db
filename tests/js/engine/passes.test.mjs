/** Holds each graph pass to what it fuses, and to what it must leave alone. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fuseBias } from "../../../static/engine/passes/fuse_bias.js";
import { fuseGated } from "../../../static/engine/passes/fuse_gated.js";
import { fuseSoftCap } from "../../../static/engine/passes/fuse_soft_cap.js";
import { formEmbedding } from "../../../static/engine/passes/form_embedding.js";
import { formLinear } from "../../../static/engine/passes/form_linear.js";
import { mergeProjections } from "../../../static/engine/passes/merge_projections.js";
import { widenVectors } from "../../../static/engine/passes/widen_vectors.js";
import { bytes, external, graphOf, integers, node, number } from "./small_graphs.mjs";

const types = (graph) => [...graph.nodes].map(({ opType }) => opType).sort();

for (const [opType, attributes] of [["QuickGelu", { alpha: 1 }], ["Gelu", {}], ["FastGelu", {}], ["Relu", {}]]) {
  test(`${opType} and the product with the other branch become one step, in either order`, () => {
    for (const order of [["active", "up"], ["up", "active"]]) {
      const graph = graphOf([node("Identity", ["x"], ["up"]), node(opType, ["x"], ["active"], attributes), node("Mul", order, ["y"])]);
      fuseGated(graph);
      assert.deepEqual(types(graph), ["Gated", "Identity"]);
      assert.deepEqual(graph.producer("y").inputs, ["x", "up"]);
    }
  });
}

test("a gate that is read elsewhere, a square, a constant factor and Tanh are not gated", () => {
  const up = node("Identity", ["x"], ["up"]);
  const gelu = node("Gelu", ["x"], ["active"]);
  for (const [nodes, outputs] of [
    [[up, gelu, node("Mul", ["active", "up"], ["y"])], ["y", "active"]],
    [[up, gelu, node("Mul", ["active", "up"], ["y"]), node("Identity", ["active"], ["z"])], ["y", "z"]],
    [[gelu, node("Mul", ["active", "active"], ["y"])], ["y"]],
    [[gelu, node("Mul", ["active", "two"], ["y"])], ["y"]],
    [[up, node("Tanh", ["x"], ["active"]), node("Mul", ["active", "up"], ["y"])], ["y"]],
    [[up, node("FastGelu", ["x", "bias"], ["active"]), node("Mul", ["active", "up"], ["y"])], ["y"]],
  ]) {
    const graph = graphOf(nodes, { outputs, initializers: [number("two", 2), external("bias", [8])] });
    const before = types(graph);
    fuseGated(graph);
    assert.deepEqual(types(graph), before);
  }
});

test("vectors that are stored as halves are read where they are stored; matrices keep their cast", () => {
  for (const [dims, dataType, inputs] of [[[8], 10, ["x", "b"]], [[8, 1], 10, ["x", "wide"]], [[8], 1, ["x", "wide"]]]) {
    const graph = graphOf([node("Cast", ["b"], ["wide"], { to: 1 }), node("Add", ["x", "wide"], ["y"])], {
      initializers: [external("b", dims, dataType)],
    });
    widenVectors(graph);
    assert.deepEqual(graph.producer("y").inputs, inputs);
  }
});

const capped = (first, second) =>
  graphOf([node("Div", ["x", "a"], ["scaled"]), node("Tanh", ["scaled"], ["bounded"]), node("Mul", ["bounded", "b"], ["y"])], {
    initializers: [number("a", first), number("b", second)],
  });

test("a soft cap is one step, unless its two limits differ or it divides by nothing", () => {
  const graph = capped(30, 30);
  fuseSoftCap(graph);
  assert.deepEqual(types(graph), ["SoftCap"]);
  assert.deepEqual(graph.producer("y").detail, { limit: 30 });
  for (const [first, second] of [[30, 31], [0, 0], [-1, -1], [NaN, NaN]]) {
    const other = capped(first, second);
    fuseSoftCap(other);
    assert.equal(other.nodes.size, 3, `${first} and ${second}`);
  }
});

for (const [biased, plain] of [["BiasGelu", "Gelu"], ["FastGelu", "FastGelu"]]) {
  test(`the bias of ${biased} goes into the product before it`, () => {
    const graph = graphOf([node("MatMul", ["x", "w"], ["product"]), node(biased, ["product", "bias"], ["y"])], {
      initializers: [external("w", [16, 8]), external("bias", [8])],
    });
    formLinear(graph);
    fuseBias(graph);
    const [active] = graph.all(plain);
    assert.deepEqual(active.inputs, ["product"]);
    assert.equal(graph.producer("product").detail.parts[0].bias.name, "bias");
  });
}

test("products of one value are merged, those with columns that are no multiple of 8 are not", () => {
  const products = ["a", "b", "c"].map((name) => node("MatMul", ["x", name], [`${name}_out`]));
  const graph = graphOf(products, {
    outputs: ["a_out", "b_out", "c_out"],
    initializers: [external("a", [16, 8]), external("b", [16, 24]), external("c", [16, 9])],
  });
  formLinear(graph);
  mergeProjections(graph);
  assert.deepEqual(graph.all("Linear").map(({ outputs }) => outputs.length).sort(), [1, 2]);
});

/** Nodes that look rows of 4-bit codes up, as the converter spells them. */
function nibbleLookup({ zero, offsets }) {
  const unsqueeze = (input, output) => node("Unsqueeze", [input, "last"], [output]);
  const nodes = [
    node("Gather", ["codes", "input_ids"], ["c0"]),
    node("Cast", ["c0"], ["c"], { to: 1 }),
    node("Mul", ["c", "sixteenth"], ["c1"]),
    node("Floor", ["c1"], ["high"]),
    node("Mul", ["high", "sixteen"], ["raised"]),
    node("Sub", ["c", "raised"], ["low"]),
    unsqueeze("low", "low1"),
    unsqueeze("high", "high1"),
    node("Concat", ["low1", "high1"], ["pairs"], { axis: -1 }),
    node("Reshape", ["pairs", "blocks"], ["values"]),
    ...(zero === null ? [] : [node("Sub", ["values", "zero"], ["centred"])]),
    node("Gather", ["scales", "input_ids"], ["s0"]),
    unsqueeze("s0", "s"),
    node("Mul", [zero === null ? "values" : "centred", "s"], [offsets ? "scaled" : "rows4"]),
    ...(offsets ? [node("Gather", ["offsets", "input_ids"], ["o0"]), unsqueeze("o0", "o"), node("Add", ["scaled", "o"], ["rows4"])] : []),
    node("Reshape", ["rows4", "flat"], ["y"]),
  ];
  const initializers = [
    bytes("codes", [12, 2, 16]), external("scales", [12, 2], 10), external("offsets", [12, 2], 10),
    number("sixteenth", 1 / 16), number("sixteen", 16), number("zero", zero ?? 0),
    integers("last", [-1]), integers("blocks", [0, 0, 2, 32]), integers("flat", [0, 0, 64]),
  ];
  return graphOf(nodes, { inputs: ["input_ids"], initializers });
}

test("lookups of 4-bit rows become embeddings, centred or with offsets", () => {
  for (const form of [{ zero: 8, offsets: false }, { zero: null, offsets: true }]) {
    const graph = nibbleLookup(form);
    formEmbedding(graph);
    const { weight } = graph.producer("y").detail;
    assert.deepEqual([weight.bits, weight.columns, weight.inner, weight.offsets?.name ?? null], [4, 12, 64, form.offsets ? "offsets" : null]);
    assert.deepEqual(graph.producer("y").inputs, ["input_ids"]);
  }
});

test("a lookup with another zero, or with neither zero nor offsets, is left alone", () => {
  for (const form of [{ zero: 7, offsets: false }, { zero: null, offsets: false }, { zero: 8, offsets: true }]) {
    const graph = nibbleLookup(form);
    formEmbedding(graph);
    assert.equal(graph.producer("y").opType, "Reshape", JSON.stringify(form));
  }
});
