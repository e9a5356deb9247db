/** Holds the engine to the ends of 32-bit memory: addresses above 2 GiB work, and a full memory is an error that harms nothing. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";

import { BUILDS, ROOT, modelDirectory, modelMissing, openEngine, openSession } from "./node_engine.mjs";

const DECODER = "smollm2-135m-instruct";
const ENCODER = "minilm-distilbert";
const PATH = join(modelDirectory(DECODER), "onnx/model_q4.onnx");
const HIGH = 2 ** 31 + 12_345;
const MAXIMUM = 65535 * 65536;

describe("far up in memory", { skip: modelMissing(DECODER) || modelMissing(ENCODER) }, () => {
  // Memory that nobody touches costs only addresses.
  for (const build of BUILDS) {
    test(`${build.file} gives the same above 2 GiB`, async () => {
      const [{ prompt_token_ids: prompt }] = JSON.parse(await readFile(join(ROOT, "tests/data/smollm2_reference.json"), "utf8")).results;
      const threads = build.shared ? 2 : 1;
      const answers = [];
      for (const below of [0, HIGH]) {
        const session = await openSession(PATH, build, { threads, below });
        answers.push(await session.prefill(prompt), await session.decode(7));
        await session.dispose();
      }
      assert.deepEqual(answers.slice(2), answers.slice(0, 2));
    });
  }

  test("an encoder gives the same above 2 GiB", async () => {
    const batch = { inputIds: [[101, 7592, 2088, 102]], attentionMask: [[1, 1, 1, 1]] };
    const answers = [];
    for (const below of [0, HIGH]) {
      const session = await openSession(join(modelDirectory(ENCODER), "onnx/model.onnx"), BUILDS[0], { below });
      answers.push(await session.encode(batch));
      await session.dispose();
    }
    assert.deepEqual(answers[1], answers[0]);
  });

  test("a cache that cannot grow is one clear error, and the conversation goes on without it", async () => {
    const engine = await openEngine(PATH, BUILDS[2]);
    const { pageBytes } = engine.plan;
    const free = MAXIMUM - engine.plan.kernels.memory.top;
    const session = await openSession(PATH, BUILDS[2], { below: Math.floor((free - 2.5 * pageBytes) / 65536) * 65536 });
    const { plan } = session.engine;
    const before = await session.prefill([1, 2, 3]);
    await assert.rejects(session.prefill(new Array(700).fill(5)), { code: "out_of_memory", message: /shorter context/ });
    assert.equal(session.length, 3);
    assert.equal(plan.pages, 2);
    await session.prefill(new Array(500).fill(5));
    await session.truncate(0);
    assert.deepEqual(await session.prefill([1, 2, 3]), before);
    await assert.rejects(openSession(PATH, BUILDS[2], { below: free }), { code: "out_of_memory" });
  });
});
