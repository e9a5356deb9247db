/**
 * Runs graphs in every build of the engine and prints how far their outputs are from given ones, as JSON.
 *
 *     node compare.mjs JOBS.json
 *
 * A job of a decoder: {name, graph, ids, prompt, kvDtype, vocabulary, logits}; `logits` is a file of float32
 * [ids, vocabulary], the first `prompt` ids are given together, the others one by one. A job of an encoder: {name,
 * graph, batch, outputs: {name: {dims, data}}}; `data` is a file of float32, `batch` what a session takes. A job of an
 * encoder-decoder: {name, graph, encoder, text, ids, kvDtype, vocabulary, logits}; `ids` answer the `text`.
 * The answer has for each job {error} or {distances: {build: largest relative distance}, cost, text}, cost as planCost gives
 * it; of an encoder-decoder that of the answer, and that of its text.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { planCost } from "../../../static/engine/plan_cost.js";
import { KV_TYPE } from "../../../static/engine/plan_format.js";
import { BUILDS, openSession } from "./node_engine.mjs";

const CONTEXT = 4096;

/** @param {ArrayLike<number>} found @param {ArrayLike<number>} expected */
function distance(found, expected) {
  if (found.length !== expected.length) return Infinity;
  let difference = 0;
  let size = 0;
  for (let at = 0; at < expected.length; at++) {
    difference += (found[at] - expected[at]) ** 2;
    size += expected[at] ** 2;
  }
  return Math.sqrt(difference / size);
}

const readFloats = async (path) => new Float32Array((await readFile(path)).buffer.slice(0));

async function decoderDistance(session, { ids, prompt, vocabulary, logits }) {
  const expected = await readFloats(logits);
  const row = (at) => expected.subarray(at * vocabulary, (at + 1) * vocabulary);
  const distances = [distance(await session.prefill(ids), row(ids.length - 1))];
  await session.reset();
  distances.push(distance(await session.prefill(ids.slice(0, prompt)), row(prompt - 1)));
  for (let at = prompt; at < ids.length; at++) distances.push(distance(await session.decode(ids[at]), row(at)));
  return Math.max(...distances);
}

async function answerDistance(session, { text, ids, vocabulary, logits }) {
  const expected = await readFloats(logits);
  const row = (at) => expected.subarray(at * vocabulary, (at + 1) * vocabulary);
  await assert.rejects(session.decode(ids), RangeError, "an answer to nothing");
  for (const wrong of [[], [-1], [vocabulary], [0.5]]) await assert.rejects(session.start(wrong), RangeError, `${wrong}`);
  await assert.rejects(session.start(new Array(CONTEXT + 1).fill(0)), { code: "unsupported" });
  await session.start(text.slice(4));
  await session.decode(ids.slice(0, 3));
  await session.start(text);
  const distances = [distance(await session.decode(ids), row(ids.length - 1))];
  await session.start(text);
  for (const [at, id] of ids.entries()) distances.push(distance(await session.decode([id]), row(at)));
  return Math.max(...distances);
}

const DISTANCES = { decoder: decoderDistance, encoder: encoderDistance, "encoder-decoder": answerDistance };

async function encoderDistance(session, { batch, outputs }) {
  const found = await session.encode(batch);
  if (String(Object.keys(found)) !== String(Object.keys(outputs))) throw new Error(`outputs ${Object.keys(found)}`);
  const distances = [];
  for (const [name, { dims, data }] of Object.entries(outputs)) {
    if (String(found[name].dims) !== String(dims)) throw new Error(`${name} is [${found[name].dims}], not [${dims}]`);
    distances.push(distance(found[name].data, await readFloats(data)));
  }
  return Math.max(...distances);
}

/** A step of a decoder as it is unless another cache is asked for. */
function withDefaultCache(step) {
  return "kvType" in step ? { ...step, kvType: KV_TYPE.I16 } : step;
}

const answers = {};
for (const job of JSON.parse(await readFile(process.argv[2], "utf8"))) {
  const distances = {};
  let cost;
  let text;
  try {
    for (const build of BUILDS) {
      const session = await openSession(job.graph, build, { threads: build.shared ? 2 : 1, contextLength: CONTEXT, kvDtype: job.kvDtype, encoder: job.encoder });
      distances[build.file] = await DISTANCES[session.kind](session, job);
      const { model } = session.engine.plan;
      const steps = model.steps.slice(model.answer);
      cost = planCost({ ...model, steps: session.kind === "encoder" ? steps : steps.map(withDefaultCache) });
      text = planCost({ ...model, steps: model.steps.slice(0, model.answer) });
      await session.dispose();
    }
    answers[job.name] = { distances, cost, text };
  } catch (error) {
    answers[job.name] = { error: error.message };
  }
}
console.log(JSON.stringify(answers));
process.exit(0);
