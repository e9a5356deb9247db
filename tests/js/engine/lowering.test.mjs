/** Holds the graph passes to what they must find in the bundled models, and the reader to hostile files. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { FeatherweightError } from "../../../static/errors.js";
import { loadEngine } from "../../../static/engine/engine.js";
import { Graph } from "../../../static/engine/graph.js";
import { instantiateKernels } from "../../../static/engine/kernels.js";
import { lowerModel } from "../../../static/engine/lower_model.js";
import { parseModel } from "../../../static/engine/onnx_model.js";
import { runPasses } from "../../../static/engine/passes/passes.js";
import { BUILDS, compileKernels, modelDirectory, modelMissing, openSession } from "./node_engine.mjs";

const DECODER = "smollm2-135m-instruct";
const ENCODER = "minilm-distilbert";
const graphBytes = (id, file) => readFile(join(modelDirectory(id), "onnx", file));

/** How many nodes of each type the output depends on after the passes. */
async function operatorCounts(id, file) {
  const graph = new Graph(parseModel(await graphBytes(id, file)));
  runPasses(graph);
  const seen = new Set();
  const visit = (name) => {
    const node = graph.producer(name);
    if (!node || seen.has(node)) return;
    seen.add(node);
    node.inputs.forEach(visit);
  };
  visit(graph.outputs[0]);
  const counts = {};
  for (const { opType } of seen) counts[opType] = (counts[opType] ?? 0) + 1;
  return { counts, nodes: [...seen] };
}

test("a decoder's projections, corrections, gates and table are fused", { skip: modelMissing(DECODER) }, async () => {
  const { counts, nodes } = await operatorCounts(DECODER, "model_q4.onnx");
  assert.equal(counts.Linear, 4 * 30 + 1);
  assert.equal(counts.Gated, 30);
  assert.equal(counts.Embedding, 1);
  for (const gone of ["MatMulNBits", "MatMul", "QuickGelu", "Add", "Transpose"]) assert.equal(counts[gone], undefined, gone);
  const linears = nodes.filter(({ opType }) => opType === "Linear");
  assert.equal(linears.filter(({ detail }) => detail.parts[0].weight.offsets).length, 4 * 30);
});

test("an encoder's biases go into its products", { skip: modelMissing(ENCODER) }, async () => {
  const { counts, nodes } = await operatorCounts(ENCODER, "model_quantized.onnx");
  assert.equal(counts.Linear, 4 * 6);
  assert.equal(counts.Gelu, 6);
  assert.equal(counts.Add, 1, "only words + positions");
  assert.equal(counts.BiasGelu, undefined);
  const biased = nodes.filter(({ opType, detail }) => opType === "Linear" && detail.parts[0].bias);
  assert.equal(biased.length, 2 * 6);
});

test("a graph that is cut off anywhere is refused, not misread", { skip: modelMissing(ENCODER) }, async () => {
  const bytes = await graphBytes(ENCODER, "model_quantized.onnx");
  const kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  for (let length = 0; length < bytes.length; length += 997) {
    assert.throws(() => lowerModel(bytes.subarray(0, length), kernels), FeatherweightError);
  }
});

test("changed bytes never cause anything but a refusal", { skip: modelMissing(ENCODER) }, async () => {
  const bytes = await graphBytes(ENCODER, "model_quantized.onnx");
  const kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  for (let at = 0; at < bytes.length; at += 211) {
    const changed = Uint8Array.from(bytes);
    changed[at] ^= 1 << at % 8;
    try {
      lowerModel(changed, kernels);
    } catch (error) {
      assert.ok(error instanceof FeatherweightError, `byte ${at}: ${error.stack}`);
    }
  }
});

test("an operator without lowering names itself", { skip: modelMissing(ENCODER) }, async () => {
  const bytes = await graphBytes(ENCODER, "model_quantized.onnx");
  const changed = Buffer.from(bytes.toString("latin1").replaceAll("SkipLayerNormalization", "SkipLayerNormalizatioX"), "latin1");
  const kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  assert.throws(() => lowerModel(changed, kernels), { code: "unsupported", message: /SkipLayerNormalizatioX/ });
});

test("a graph that cannot run is refused before a shard is asked for, and its threads are let go", { skip: modelMissing(ENCODER) }, async () => {
  const module = await compileKernels(BUILDS[0].file);
  const graph = (await graphBytes(ENCODER, "model_quantized.onnx")).toString("latin1").replaceAll("SkipLayerNormalization", "SkipLayerNormalizatioX");
  let threads = 0;
  const createWorker = () => {
    threads++;
    return { onmessage: null, onerror: null, postMessage: () => {}, terminate: () => threads-- };
  };
  const readShards = () => assert.fail("a shard was asked for");
  const options = { module, kernels: await instantiateKernels(module, true), threads: 3, contextLength: 512, readShards, createWorker };
  await assert.rejects(loadEngine(Buffer.from(graph, "latin1"), options), { code: "unsupported" });
  assert.equal(threads, 0);
});

test("a shard that is too short is refused", { skip: modelMissing(ENCODER) }, async () => {
  const path = join(modelDirectory(ENCODER), "onnx/model_quantized.onnx");
  const readShards = async (locations, take) => {
    for (const location of locations) take(location, 0, (await graphBytes(ENCODER, location)).subarray(0, 1 << 20));
  };
  await assert.rejects(openSession(path, BUILDS[2], { readShards }), { code: "unsupported", message: /beyond the end/ });
});
