/** Holds the engine's decoder to the exact reference run, and its builds, threads and cache to each other. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { EngineDecoderSession } from "../../../static/engine/decoder_session.js";
import { PLAN } from "../../../static/engine/plan_format.js";
import { BUILDS, ROOT, modelDirectory, modelMissing, openEngine, openSession } from "./node_engine.mjs";

const MODEL = "smollm2-135m-instruct";
const PATH = join(modelDirectory(MODEL), "onnx/model_q4.onnx");
// Rounded activations shift logits a little: a choice that was closer than this may fall the other way.
const CLOSE = 0.25;
const CLEAR = 1.0;

const top = (logits) => logits.reduce((best, value, at) => (value > logits[best] ? at : best), 0);
const distance = (a, b) => {
  let difference = 0;
  let size = 0;
  a.forEach((value, at) => ((difference += (value - b[at]) ** 2), (size += b[at] ** 2)));
  return Math.sqrt(difference / size);
};

describe("the engine's decoder", { skip: modelMissing(MODEL) }, () => {
  let session;
  let reference;
  before(async () => {
    session = await openSession(PATH, BUILDS[0], { threads: 2 });
    reference = JSON.parse(await readFile(join(ROOT, "tests/data/smollm2_reference.json"), "utf8")).results;
  });
  after(() => session?.dispose());

  test("generates the reference's tokens up to the first close choice", async () => {
    for (const { prompt_token_ids: prompt, greedy_token_ids: greedy, greedy_top1_top2_margin: margins } of reference) {
      await session.reset();
      let logits = await session.prefill(prompt);
      for (let at = 0; at < greedy.length && margins[at] >= CLOSE; at++) {
        assert.equal(top(logits), greedy[at], `token ${at}`);
        logits = await session.decode(greedy[at]);
      }
    }
  });

  test("makes every clear choice of the reference when it is fed the reference's tokens", async () => {
    for (const { prompt_token_ids: prompt, greedy_token_ids: greedy, greedy_top1_top2_margin: margins } of reference) {
      await session.reset();
      let logits = await session.prefill(prompt);
      for (const [at, token] of greedy.entries()) {
        if (margins[at] >= CLEAR) assert.equal(top(logits), token, `token ${at}`);
        logits = await session.decode(token);
      }
    }
  });

  test("gives the same whether tokens come together or one by one", async () => {
    const tokens = reference.flatMap(({ prompt_token_ids: prompt, greedy_token_ids: greedy }) => [...prompt, ...greedy]);
    await session.reset();
    const together = await session.prefill(tokens);
    await session.reset();
    let single = new Float32Array(0);
    for (const token of tokens) single = await session.decode(token);
    assert.equal(session.length, tokens.length);
    assert.ok(tokens.length > 256, "more than one page of the cache");
    assert.ok(distance(together, single) < 1e-3);
  });

  test("keeps its plan where memory moves while the plan is made", async () => {
    const [{ prompt_token_ids: prompt }] = reference;
    const first = await openSession(PATH, BUILDS[2]);
    const expected = await first.prefill(prompt);
    const { address, tables, kernels } = first.engine.plan;
    const words = kernels.memory.words(address, PLAN.WORDS);
    // Memory grows by pages: a region that begins right below the end of one makes it move.
    for (const region of [words[PLAN.PROGRESS], words[PLAN.PARTIALS], words[PLAN.ARRIVALS], tables.tiles]) {
      const moved = await openSession(PATH, BUILDS[2], { below: 65536 - 64 - (region % 65536) });
      assert.deepEqual(await moved.prefill(prompt), expected);
    }
  });

  test("fills the logits that it is given", async () => {
    const [{ prompt_token_ids: prompt }] = reference;
    await session.reset();
    const expected = await session.prefill(prompt);
    const spent = new Float32Array(expected.length);
    await session.reset();
    assert.equal(await session.prefill(prompt, spent), spent);
    assert.deepEqual(spent, expected);
    await session.reset();
    const other = new Float32Array(7);
    assert.deepEqual(await session.prefill(prompt, other), expected, "of another length they are left alone");
  });

  test("forgets what was truncated", async () => {
    const [{ prompt_token_ids: prompt }] = reference;
    await session.reset();
    const expected = await session.prefill(prompt);
    await session.prefill([5, 6, 7]);
    await session.truncate(prompt.length - 1);
    assert.deepEqual(await session.decode(prompt[prompt.length - 1]).then(top), top(expected));
    await session.reset();
    assert.deepEqual(await session.prefill(prompt), expected);
  });

  test("refuses tokens that are none and more than the context holds", async () => {
    await session.reset();
    for (const bad of [-1, 49152, 1.5, NaN]) await assert.rejects(session.decode(bad), RangeError);
    await assert.rejects(session.prefill(new Array(1025).fill(1)), { code: "unsupported" });
    await assert.rejects(session.truncate(1), RangeError);
    assert.equal(session.length, 0);
  });

  test("keeps its choices with a cache of any type", async () => {
    const [{ prompt_token_ids: prompt, greedy_token_ids: greedy, greedy_top1_top2_margin: margins }] = reference;
    const bounds = { int16: 2e-3, int8: 0.15 };
    const exact = [];
    for (const kvDtype of ["fp32", "int16", "int8"]) {
      const other = await openSession(PATH, BUILDS[0], { threads: 2, kvDtype });
      let logits = await other.prefill(prompt);
      for (const [at, token] of greedy.entries()) {
        if (kvDtype === "fp32") exact.push(logits);
        else assert.ok(distance(logits, exact[at]) < bounds[kvDtype], `${kvDtype}, token ${at}: ${distance(logits, exact[at])}`);
        if (margins[at] >= CLEAR) assert.equal(top(logits), token, `${kvDtype}, token ${at}`);
        logits = await other.decode(token);
      }
      await other.dispose();
    }
  });

  test("refuses a cache of a type that there is not", async () => {
    await assert.rejects(openSession(PATH, BUILDS[0], { kvDtype: "fp8" }), RangeError);
  });

  test("measures its threads, changes them between tokens, and gives the same", async () => {
    const { prompt_token_ids: prompt, greedy_token_ids: greedy } = reference[0];
    const engine = await openEngine(PATH, BUILDS[0], { threads: 4, measure: true });
    assert.ok([1, 2, 3, 4].includes(engine.choice.count));
    const other = new EngineDecoderSession(engine);
    await session.reset();
    assert.deepEqual(await other.prefill(prompt), await session.prefill(prompt));
    for (const [at, token] of greedy.slice(0, 12).entries()) {
      engine.pool.use(1 + (at % 4));
      const [output] = engine.plan.run([{ ids: [token], positions: [other.length], slot: 0, past: other.length }], true);
      other.length++;
      assert.deepEqual(new Float32Array(output), await session.decode(token), `token ${at}`);
    }
    assert.throws(() => engine.pool.use(5), RangeError);
    await other.dispose();
  });

  for (const [at, build] of BUILDS.entries()) {
    test(`${build.file} chooses the same with any number of threads`, async () => {
      const [{ prompt_token_ids: prompt, greedy_token_ids: greedy }] = reference;
      const runs = [];
      for (const threads of build.shared ? [1, 2, 3] : [1]) {
        const other = await openSession(PATH, build, { threads });
        await other.prefill(prompt);
        runs.push(await other.prefill(greedy.slice(0, 9)), await other.decode(greedy[9]));
        await other.dispose();
      }
      for (let run = 2; run < runs.length; run++) assert.deepEqual(runs[run], runs[run % 2], `run ${run}`);
      assert.equal(top(runs[1]), greedy[10], `build ${at}`);
    });
  }
});
