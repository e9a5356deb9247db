/**
 * Runs graphs in every build of the engine and prints how far their outputs are from given ones, as JSON.
 *
 *     node compare.mjs JOBS.json
 *
 * A job of a decoder: {name, graph, ids, prompt, kvDtype, vocabulary, logits}; `logits` is a file of float32
 * [ids, vocabulary], the first `prompt` ids are given together, the others one by one. A job of an encoder: {name,
 * graph, batch, outputs: {name: {dims, data}}}; `data` is a file of float32, `batch` what a session takes.
 * The answer has for each job {error} or {distances: {build: largest relative distance}, cost}, cost as planCost gives it.
 */
import { readFile } from "node:fs/promises";

import { planCost } from "../../../static/engine/plan_cost.js";
import { BUILDS, openSession } from "./node_engine.mjs";

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

const answers = {};
for (const job of JSON.parse(await readFile(process.argv[2], "utf8"))) {
  const distances = {};
  let cost;
  try {
    for (const build of BUILDS) {
      const session = await openSession(job.graph, build, { threads: build.shared ? 2 : 1, contextLength: 4096, kvDtype: job.kvDtype });
      distances[build.file] = await (session.kind === "decoder" ? decoderDistance : encoderDistance)(session, job);
      cost = planCost(session.engine.plan.model);
      await session.dispose();
    }
    answers[job.name] = { distances, cost };
  } catch (error) {
    answers[job.name] = { error: error.message };
  }
}
console.log(JSON.stringify(answers));
process.exit(0);
