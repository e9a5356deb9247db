/** The downloader against a real HTTP server: what arrives is whole, verified and fetched once, and progress is told truly. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fetchFiles } from "../../../static/delivery/downloader.js";
import { assertStored, CHUNK, FAST, present, readStored, setUp, SHARD, streamed, withCode } from "./shard_delivery.mjs";
import { randomContents } from "./shard_server.mjs";

test("roundtrip: every file arrives whole, by ranges, once", async () => {
  const run = await setUp();
  const { networkBytes } = await fetchFiles(run.manifest, run.paths, run.store, FAST);
  assert.equal(networkBytes, run.total);
  await assertStored(run);
  assert.ok(run.server.requests.every(({ end }) => end !== null));
});

test("roundtrip with the real chunk size", async () => {
  const run = await setUp({ chunkSize: 1 << 20, sizes: { [SHARD]: (20 << 20) + 12345 } });
  const { networkBytes } = await fetchFiles(run.manifest, run.paths, run.store, FAST);
  assert.equal(networkBytes, run.total);
  await assertStored(run);
  for (const { start, end } of run.server.requests) assert.ok(end - start <= 8 << 20);
});

test("second_visit_fetches_nothing", async () => {
  const run = await setUp();
  await fetchFiles(run.manifest, run.paths, run.store, FAST);
  const before = run.server.requests.length;
  const reports = [];
  const { networkBytes } = await fetchFiles(run.manifest, run.paths, run.store, {
    ...FAST,
    onProgress: (p) => reports.push(p),
  });
  assert.equal(networkBytes, 0);
  assert.equal(run.server.requests.length, before);
  assert.deepEqual(
    [reports.at(-1).storedBytes, reports.at(-1).loadedBytes, reports.at(-1).secondsLeft],
    [run.total, run.total, 0],
  );
});

test("connections: as many requests at a time as asked for, not more", async () => {
  const run = await setUp({ misbehave: () => ({ delayMs: 20 }) });
  await fetchFiles(run.manifest, run.paths, run.store, { ...FAST, connections: 3 });
  assert.equal(run.server.maxParallel, 3);
});

test("empty_file is complete without a request", async () => {
  const run = await setUp({ sizes: { "onnx/model_q4.onnx": 10, "empty.txt": 0 } });
  await fetchFiles(run.manifest, run.paths, run.store, FAST);
  await assertStored(run);
  assert.equal(run.server.requests.length, 1);
});

test("same_content under two paths is fetched once", async () => {
  const bytes = randomContents({ a: 2 * CHUNK }).a;
  const run = await setUp({ contents: { "onnx/a": bytes, "onnx/b": bytes } });
  assert.equal((await fetchFiles(run.manifest, run.paths, run.store, FAST)).networkBytes, bytes.length);
  assert.ok(bytes.equals(await readStored(run, "onnx/b")));
});

test("repairs_flipped_byte: a wrong chunk is fetched once more, alone, past the caches", async () => {
  const run = await setUp({
    misbehave: ({ path, start, end }) =>
      path === SHARD && start <= 5 * CHUNK && end > 6 * CHUNK ? { flip: 5 * CHUNK + 9 } : undefined,
  });
  const { networkBytes } = await fetchFiles(run.manifest, run.paths, run.store, FAST);
  await assertStored(run);
  assert.equal(networkBytes, run.total + CHUNK);
  const repeated = run.server.requests.filter(
    ({ path, start, end }) => path === SHARD && start === 5 * CHUNK && end === 6 * CHUNK,
  );
  assert.equal(repeated.length, 1);
  assert.equal(repeated[0].cacheControl, "no-cache");
});

test("rejects_flipped_byte that comes twice, naming file, chunk and hashes; nothing of the chunk is kept", async () => {
  const run = await setUp({ misbehave: ({ path }) => (path === SHARD ? { flip: 5 * CHUNK + 9 } : undefined) });
  const { delivered, finished } = await streamed(run, run.paths);
  await assert.rejects(finished, (error) => {
    withCode("integrity", /onnx\/model_q4\.onnx_data, chunk 5: .*SHA-256 [0-9a-f]{64}.*[0-9a-f]{64}/)(error);
    assert.equal(error.details.path, SHARD);
    assert.equal(error.details.chunk, 5);
    assert.equal(error.details.expected, run.manifest.files.get(SHARD).chunks[5]);
    assert.match(error.details.actual, /^[0-9a-f]{64}$/);
    return true;
  });
  assert.ok(!(await present(run, SHARD)).includes(5));
  assert.ok(!delivered.has(`${SHARD} ${5 * CHUNK}`));
  assert.equal(
    run.server.requests.filter(({ path, start, end }) => path === SHARD && start === 5 * CHUNK && end === 6 * CHUNK)
      .length,
    1,
  );
});

for (const [defect, fault, code] of [
  ["missing_file", { status: 404 }, "not_found"],
  [
    "html_page",
    { status: 200, headers: { "Content-Type": "text/html; charset=utf-8" }, body: "<!doctype html>" },
    "not_found",
  ],
  ["html_page_as_206", { status: 206, headers: { "Content-Type": "text/html" }, body: "<html>" }, "not_found"],
  ["shorter_file", { length: 3 * CHUNK }, "integrity"],
  ["longer_file", { length: 50 * CHUNK }, "integrity"],
  ["shorter_file_without_ranges", { ignoreRange: true, length: 3 * CHUNK }, "integrity"],
  ["shorter_file_of_unknown_length", { ignoreRange: true, chunked: true, length: 7 }, "integrity"],
  ["forbidden", { status: 403 }, "network"],
  [
    "other_range",
    { status: 206, headers: { "Content-Range": `bytes 5-9/${40 * CHUNK + 5}` }, body: "hello" },
    "network",
  ],
]) {
  test(`rejects_${defect} without another try and keeps nothing of it`, async () => {
    const run = await setUp({ misbehave: ({ path }) => (path === SHARD ? fault : undefined) });
    await assert.rejects(
      fetchFiles(run.manifest, [SHARD], run.store, { ...FAST, connections: 1 }),
      withCode(code, /onnx_data/),
    );
    assert.equal(run.server.requests.length, 1);
    assert.deepEqual(await present(run, SHARD), []);
  });
}

test("progress is truthful: grows to the total, and counts the network apart", async () => {
  const run = await setUp({ misbehave: () => ({ delayMs: 60 }) });
  const reports = [];
  await fetchFiles(run.manifest, run.paths, run.store, {
    ...FAST,
    connections: 1,
    onProgress: (report) => reports.push(report),
  });
  assert.equal(reports[0].phase, "check");
  assert.ok(reports.length > 3);
  reports.forEach((report, i) => {
    assert.equal(report.totalBytes, run.total);
    assert.equal(report.storedBytes, 0);
    assert.ok(report.loadedBytes <= report.networkBytes);
    assert.ok(i === 0 || report.loadedBytes >= reports[i - 1].loadedBytes);
  });
  const last = reports.at(-1);
  assert.deepEqual(
    [last.loadedBytes, last.networkBytes, last.secondsLeft, last.phase],
    [run.total, run.total, 0, "download"],
  );
  assert.ok(last.bytesPerSecond > 0);
});

test("rejects_unknown_path", async () => {
  const run = await setUp();
  await assert.rejects(fetchFiles(run.manifest, ["no.such"], run.store, FAST), withCode("not_found", /no\.such/));
  await assert.rejects(readStored(run, "no.such"), withCode("not_found"));
});
