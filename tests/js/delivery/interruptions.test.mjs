/** Cuts, busy and silent servers, servers without ranges, and aborts: what has arrived stays, and the next call goes on. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { fetchFiles, variantStatus } from "../../../static/delivery/downloader.js";
import { assertDelivered, assertStored, CHUNK, FAST, persistent, present, readStored, setUp, SHARD, stopServers, streamed, withCode } from "./shard_delivery.mjs";

test("resumes_after_cut: each cut loses at most one chunk", async () => {
  const chunkSize = 1 << 20;
  const cutAfter = 2 * chunkSize + 700_000;
  const misbehave = ({ count }) => (count < 3 ? { cutAfter } : undefined);
  const run = await setUp({ chunkSize, sizes: { [SHARD]: 12 * chunkSize }, misbehave });
  await fetchFiles(run.manifest, run.paths, run.store, { ...FAST, connections: 1 });
  await assertStored(run);
  const starts = run.server.requests.map(({ start }) => start);
  for (let i = 1; i <= 3; i++) assert.ok(starts[i] >= starts[i - 1] + cutAfter - chunkSize, `asked from ${starts}`);
});

test("resumes_after_busy: 503 and 429 are tried again", async () => {
  const run = await setUp({ misbehave: ({ count }) => (count < 2 ? { status: count ? 429 : 503 } : undefined) });
  await fetchFiles(run.manifest, run.paths, run.store, FAST);
  await assertStored(run);
});

test("resumes_after_stall: a silent connection is given up and made anew", async () => {
  const run = await setUp({
    misbehave: ({ path, count }) => (path === SHARD && count === 0 ? { stallAfter: 3 * CHUNK + 7 } : undefined),
  });
  await fetchFiles(run.manifest, run.paths, run.store, { ...FAST, stallMs: 150 });
  await assertStored(run);
});

test("gives_up when the server stays away; what has arrived stays, and the next call fetches the rest", async () => {
  const run = await setUp({ misbehave: ({ count }) => ({ cutAfter: count === 0 ? 4 * CHUNK + 10 : 0 }) });
  await assert.rejects(
    fetchFiles(run.manifest, [SHARD], run.store, { ...FAST, connections: 1 }),
    withCode("network", /is kept/),
  );
  const kept = await present(run, SHARD);
  assert.ok(kept.length >= 3 && kept.length <= 4, `${kept}`);
  run.server.misbehave = () => undefined;
  const { networkBytes } = await fetchFiles(run.manifest, [SHARD], run.store, FAST);
  assert.equal(networkBytes, run.manifest.files.get(SHARD).sizeBytes - kept.length * CHUNK);
});

test("unreachable_server is a network error", async () => {
  const run = await setUp();
  await stopServers();
  await assert.rejects(fetchFiles(run.manifest, run.paths, run.store, FAST), withCode("network", /cannot be fetched/));
});

test("works_without_ranges: a server that answers 200 sends each file about once", async () => {
  const run = await setUp({ misbehave: () => ({ ignoreRange: true }) });
  const { networkBytes } = await fetchFiles(run.manifest, run.paths, run.store, FAST);
  await assertStored(run);
  assert.ok(networkBytes < 1.5 * run.total, `${networkBytes} of ${run.total}`);
});

test("works_without_ranges after a cut: the bytes before are skipped, not stored twice", async () => {
  const run = await setUp({
    misbehave: ({ count }) => ({ ignoreRange: true, ...(count < 2 ? { cutAfter: 9 * CHUNK + 100 } : {}) }),
  });
  const { delivered, finished } = await streamed(run, [SHARD]);
  await finished;
  assertDelivered(run, [SHARD], delivered);
});

test("repairs_flipped_byte without ranges", async () => {
  const run = await setUp({
    misbehave: ({ count }) => ({ ignoreRange: true, ...(count === 0 ? { flip: 2 * CHUNK } : {}) }),
  });
  await fetchFiles(run.manifest, [SHARD], run.store, { ...FAST, connections: 1 });
  assert.ok(run.contents[SHARD].equals(await readStored(run, SHARD)));
});

test("abort stops all requests, keeps what is verified, and the next call goes on", async () => {
  const run = await setUp({
    misbehave: ({ path, start }) => (path === SHARD && start > 0 ? { stallAfter: CHUNK + 5 } : undefined),
  });
  const controller = new AbortController();
  let chunks = 0;
  run.store = persistent(run.store);
  const options = { ...FAST, storage: {}, signal: controller.signal };
  const { finished } = await streamed(run, run.paths, options, () => void (++chunks === 10 && controller.abort()));
  await assert.rejects(finished, withCode("aborted"));
  const { presentBytes } = await variantStatus(run.manifest, "q4", run.store);
  assert.ok(presentBytes > 0 && presentBytes < run.total);
  run.server.misbehave = () => undefined;
  assert.equal((await fetchFiles(run.manifest, run.paths, run.store, FAST)).networkBytes, run.total - presentBytes);
});

test("abort before the start asks for nothing", async () => {
  const run = await setUp();
  await assert.rejects(
    fetchFiles(run.manifest, run.paths, run.store, { signal: AbortSignal.abort() }),
    withCode("aborted"),
  );
  assert.equal(run.server.requests.length, 0);
});

test("abort during the wait between attempts does not wait", async () => {
  const run = await setUp({ misbehave: () => ({ status: 503 }) });
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 30);
  const retry = { attempts: 3, baseMs: 60_000, capMs: 60_000 };
  await assert.rejects(
    fetchFiles(run.manifest, run.paths, run.store, { signal: controller.signal, retry }),
    withCode("aborted"),
  );
});
