/** Streams: each chunk comes once, from the server or from the store, and through little memory. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fetchFiles } from "../../../static/delivery/downloader.js";
import { MemoryStore } from "../../../static/delivery/store/memory_store.js";
import { assertDelivered, CHUNK, delivering, FAST, persistent, setUp, SHARD, SIZES, streamed } from "./shard_delivery.mjs";

test("stream gives each chunk once, from the server and then from the store, and its error stops the download", async () => {
  const run = await setUp();
  run.store = persistent(run.store);
  const first = await streamed(run, run.paths, { ...FAST, storage: {} });
  await first.finished;
  assertDelivered(run, run.paths, first.delivered);
  const requests = run.server.requests.length;
  const second = await streamed(run, run.paths);
  await second.finished;
  assertDelivered(run, run.paths, second.delivered);
  assert.equal(run.server.requests.length, requests);
  run.store = new MemoryStore();
  const { finished } = await streamed(run, run.paths, FAST, () => Promise.reject(new Error("repacking failed")));
  await assert.rejects(finished, /repacking failed/);
});

test("stream goes on where a part is stored, whichever chunks those are", async () => {
  const run = await setUp();
  run.store = persistent(run.store);
  await fetchFiles(run.manifest, run.paths, run.store, { ...FAST, storage: {} });
  const stored = await run.store.open(run.manifest.files.get(SHARD), CHUNK);
  const lost = [0, 1, 5, 17, 18, 40];
  for (const index of lost) await stored.drop(index);
  const before = run.server.requests.length;
  const { delivered, finished } = await streamed(run, run.paths, { ...FAST, storage: {} });
  await finished;
  assertDelivered(run, run.paths, delivered);
  const asked = run.server.requests.slice(before).reduce((sum, { start, end }) => sum + end - start, 0);
  assert.equal(asked, 5 * CHUNK + 5);
});

test("several calls of one delivery share its connections and its progress", async () => {
  const run = await setUp({ misbehave: () => ({ delayMs: 10 }) });
  const reports = [];
  const options = { ...FAST, connections: 2, onProgress: (report) => reports.push(report) };
  const [graph, text] = await delivering(run, run.paths, options, (delivery) =>
    Promise.all([delivery.read("onnx/model_q4.onnx"), delivery.read("tokenizer.json"), delivery.fetch([SHARD])]),
  );
  assert.ok(run.contents["onnx/model_q4.onnx"].equals(graph));
  assert.ok(run.contents["tokenizer.json"].equals(text));
  assert.equal(run.server.maxParallel, 2);
  assert.ok(reports.every(({ totalBytes }) => totalBytes === run.total));
  assert.equal(reports.at(-1).loadedBytes, run.total - SIZES["onnx/model_q4.onnx_data_1"]);
});

test("a failed stream leaves the delivery usable: the bytes can be read after it", async () => {
  const run = await setUp();
  run.store = persistent(run.store);
  await delivering(run, run.paths, { ...FAST, storage: {} }, async (delivery) => {
    let chunks = 0;
    const refuse = () => {
      if (++chunks === 3) throw new Error("not mine");
    };
    await assert.rejects(delivery.stream([SHARD], refuse), /not mine/);
    assert.ok(run.contents[SHARD].equals(await delivery.read(SHARD)));
  });
});

test("what is handed on is not kept in memory a second time", async () => {
  const run = await setUp();
  const { finished } = await streamed(run, run.paths);
  await finished;
  assert.deepEqual(await run.store.usage(), { usedBytes: 0 });
});

test("all chunks pass through one buffer per connection, from the server and from the store", async () => {
  const run = await setUp();
  run.store = persistent(run.store);
  for (const visit of ["first", "second"]) {
    const buffers = new Set();
    let held = 0;
    let most = 0;
    const take = async (_, __, bytes) => {
      buffers.add(bytes.buffer);
      most = Math.max(most, ++held);
      await new Promise((resolve) => setTimeout(resolve, 1));
      held--;
    };
    await delivering(run, run.paths, { ...FAST, storage: {}, connections: 3 }, (delivery) => delivery.stream(run.paths, take));
    assert.equal(buffers.size, 3, visit);
    assert.ok(most <= 3, visit);
  }
});
