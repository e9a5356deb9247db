/** Holds the engine's encoder to onnxruntime-web on the same files. */
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { test } from "node:test";

import { BUILDS, modelDirectory, modelMissing, openSession } from "./node_engine.mjs";

const MODEL = "minilm-distilbert";
const LENGTHS = [40, 17, 1, 33, 8];
const TOKENS = 40;

const inputIds = LENGTHS.map((_, row) => Array.from({ length: TOKENS }, (_, at) => (at === 0 ? 101 : 1000 + ((at * 7919 + row * 104729) % 29000))));
const attentionMask = LENGTHS.map((length) => Array.from({ length: TOKENS }, (_, at) => (at < length ? 1 : 0)));

/** The hidden states by onnxruntime-web. */
async function expectedStates(file) {
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  const folder = join(modelDirectory(MODEL), "onnx");
  const names = (await readdir(folder)).filter((name) => name.startsWith(`${file}_data`));
  const externalData = await Promise.all(names.map(async (path) => ({ path, data: await readFile(join(folder, path)) })));
  const session = await ort.InferenceSession.create(await readFile(join(folder, file)), { executionProviders: ["wasm"], externalData });
  const tensor = (rows) => new ort.Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [rows.length, TOKENS]);
  const { last_hidden_state: states } = await session.run({ input_ids: tensor(inputIds), attention_mask: tensor(attentionMask) });
  return { data: states.data, dims: states.dims };
}

for (const [file, tolerance] of [["model_quantized.onnx", 1e-3], ["model.onnx", 2e-4]]) {
  test(`${basename(file)} gives onnxruntime's states for every token, and zeros for padding`, { skip: modelMissing(MODEL) }, async () => {
    const expected = await expectedStates(file);
    for (const build of BUILDS) {
      const session = await openSession(join(modelDirectory(MODEL), "onnx", file), build, { threads: build.shared ? 2 : 1 });
      const { data, dims } = (await session.encode({ inputIds, attentionMask })).last_hidden_state;
      await session.dispose();
      assert.deepEqual(dims, expected.dims);
      let difference = 0;
      let size = 0;
      data.forEach((value, at) => {
        const token = Math.floor(at / dims[2]);
        if (token % TOKENS >= LENGTHS[Math.floor(token / TOKENS)]) return assert.equal(value, 0);
        difference += (value - expected.data[at]) ** 2;
        size += expected.data[at] ** 2;
      });
      assert.ok(Math.sqrt(difference / size) < tolerance, `${build.file}: ${Math.sqrt(difference / size)}`);
    }
  });
}

test("a batch larger than one run gives what its rows give alone", { skip: modelMissing(MODEL) }, async () => {
  const session = await openSession(join(modelDirectory(MODEL), "onnx/model_quantized.onnx"), BUILDS[0], { threads: 2 });
  const many = Array.from({ length: 30 }, (_, at) => inputIds[at % LENGTHS.length]);
  const masks = many.map((_, at) => attentionMask[at % LENGTHS.length]);
  const { data, dims } = (await session.encode({ inputIds: many, attentionMask: masks })).last_hidden_state;
  const alone = (await session.encode({ inputIds: [many[28]], attentionMask: [masks[28]] })).last_hidden_state;
  await session.dispose();
  const rowFloats = dims[1] * dims[2];
  alone.data.forEach((value, at) => assert.ok(Math.abs(value - data[28 * rowFloats + at]) < 1e-5));
});

test("rows of another shape, ids out of range and too many tokens are refused", { skip: modelMissing(MODEL) }, async () => {
  const session = await openSession(join(modelDirectory(MODEL), "onnx/model_quantized.onnx"), BUILDS[2]);
  await assert.rejects(session.encode({ inputIds: [[1, 2], [3]], attentionMask: [[1, 1], [1]] }), RangeError);
  await assert.rejects(session.encode({ inputIds: [[1, 40000]], attentionMask: [[1, 1]] }), RangeError);
  await assert.rejects(session.encode({ inputIds: [[1, 2]], attentionMask: [[1]] }), RangeError);
  const long = new Array(600).fill(1);
  await assert.rejects(session.encode({ inputIds: [long], attentionMask: [long] }), { code: "unsupported" });
});
