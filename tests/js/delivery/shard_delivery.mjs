/** What the tests of the delivery share: a real HTTP server that misbehaves on demand, the in-memory store, and what arrived in it. */
import assert from "node:assert/strict";
import { afterEach } from "node:test";

import { Delivery } from "../../../static/delivery/delivery.js";
import { MemoryStore } from "../../../static/delivery/store/memory_store.js";
import { randomContents, startShardServer } from "./shard_server.mjs";

export const CHUNK = 1 << 16;
export const FAST = { retry: { attempts: 4, baseMs: 1, capMs: 4 } };
export const SHARD = "onnx/model_q4.onnx_data";
export const SIZES = {
  "onnx/model_q4.onnx": 1000,
  "tokenizer.json": 3 * CHUNK + 17,
  [SHARD]: 40 * CHUNK + 5,
  "onnx/model_q4.onnx_data_1": 8 * CHUNK,
};

/** @type {{close: () => Promise<unknown>}[]} */
const servers = [];
export async function stopServers() {
  for (const server of servers.splice(0)) await server.close();
}
afterEach(stopServers);

export async function setUp({ sizes = SIZES, contents = randomContents(sizes), ...options } = {}) {
  const server = await startShardServer(contents, { chunkSize: CHUNK, ...options });
  servers.push(server);
  const total = Object.values(contents).reduce((sum, bytes) => sum + bytes.length, 0);
  return { contents, server, manifest: server.manifest, paths: server.paths, total, store: new MemoryStore() };
}

/** Work on a delivery that is closed in the end. */
export async function delivering({ manifest, store }, paths, options, work) {
  const delivery = await Delivery.open(manifest, paths, store, options);
  try {
    return await work(delivery);
  } finally {
    delivery.close();
  }
}

/** A stored file, read back without a network. */
export async function readStored(run, path) {
  const fetch = () => assert.fail("asked the network");
  return delivering(run, [path], { fetch }, (delivery) => delivery.read(path));
}

export async function assertStored(run) {
  for (const [path, bytes] of Object.entries(run.contents)) {
    assert.ok(bytes.equals(await readStored(run, path)), `${path} differs`);
  }
}

/** Streams files and tells what came: "path offset". */
export async function streamed(run, paths, options = FAST, onChunk = () => {}) {
  const delivered = new Map();
  const take = (path, offset, bytes) => {
    const key = `${path} ${offset}`;
    assert.ok(!delivered.has(key), `${key} came twice`);
    delivered.set(key, Buffer.from(bytes));
    return onChunk(path, offset);
  };
  const stream = delivering(run, paths, options, (delivery) => delivery.stream(paths, take));
  return { delivered, finished: stream };
}

/** Whether exactly the chunks of these files came. */
export function assertDelivered({ contents, manifest }, paths, delivered) {
  let count = 0;
  for (const path of paths) {
    manifest.files.get(path).chunks.forEach((_, index) => {
      const offset = index * manifest.chunkSize;
      assert.ok(contents[path].subarray(offset, offset + manifest.chunkSize).equals(delivered.get(`${path} ${offset}`)));
      count++;
    });
  }
  assert.equal(delivered.size, count);
}

/** Present chunks of a path, as indices. */
export async function present({ manifest, store }, path) {
  const file = manifest.files.get(path);
  const { missing } = await store.status(file, manifest.chunkSize);
  return file.chunks.map((_, index) => index).filter((index) => !missing.includes(index));
}

/** This store, taken for one that outlives the worker. */
export const persistent = (store) => Object.assign(store, { kind: "opfs" });

export const withCode =
  (code, pattern = /./) =>
  (error) => {
    assert.equal(error.name, "FeatherweightError", error.stack);
    assert.equal(error.code, code, error.stack);
    assert.match(error.message, pattern);
    return true;
  };
