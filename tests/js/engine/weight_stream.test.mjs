/** Holds the repacking of arriving bytes to one truth: whatever the order and the cuts, memory ends up the same. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";

import { Delivery } from "../../../static/delivery/delivery.js";
import { MemoryStore } from "../../../static/delivery/store/memory_store.js";
import { instantiateKernels } from "../../../static/engine/kernels.js";
import { lowerModel } from "../../../static/engine/lower_model.js";
import { WeightStream } from "../../../static/engine/weight_stream.js";
import { startShardServer } from "../delivery/shard_server.mjs";
import { BUILDS, compileKernels, kernelsMissing, modelDirectory, modelMissing } from "./node_engine.mjs";

/** Numbers from 0 to 1, the same in every run. @param {number} seed */
function randomNumbers(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

/** Cuts files at random places and shuffles the pieces. */
function randomPieces(files, random, largest) {
  const pieces = [];
  for (const [location, bytes] of Object.entries(files)) {
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + 1 + Math.floor(random() * largest));
      pieces.push({ location, offset: at, bytes: bytes.subarray(at, end) });
      at = end;
    }
  }
  for (let at = pieces.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [pieces[at], pieces[other]] = [pieces[other], pieces[at]];
  }
  return pieces;
}

const wholePieces = (files) => Object.entries(files).map(([location, bytes]) => ({ location, offset: 0, bytes }));

/** The packed weights after these pieces have come. */
async function packed(layoutOf, pieces) {
  const kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  const layout = layoutOf(kernels);
  const base = kernels.memory.allocate(layout.bytes);
  const top = kernels.memory.top;
  const stream = new WeightStream(kernels, layout, base);
  for (const { location, offset, bytes } of pieces) stream.take(location, offset, bytes);
  stream.finish();
  assert.equal(kernels.memory.top, Math.ceil(top / 64) * 64, "the staging memory is handed back");
  return Buffer.from(kernels.memory.bytes().slice(base, base + layout.bytes));
}

describe("weights that arrive in any order", { skip: kernelsMissing }, () => {
  const tensors = [
    ["codes", 24, 32 * 5],
    ["row of one byte", 1000, 1],
    ["one long row", 1, 3_000_000],
    ["three long rows", 3, 700_001],
  ];
  /** A layout that copies tensors one behind the other, and one of them twice. */
  const copies = () => {
    const placements = [];
    let bytes = 0;
    let offset = 7;
    for (const [name, rows, width] of [...tensors, ["codes", 24, 32 * 5]]) {
      const shared = placements.find(({ initializer }) => initializer.name === name)?.initializer;
      const initializer = shared ?? { name, byteLength: rows * width, raw: null, external: { location: "file", offset } };
      if (!shared) offset += rows * width + 3;
      const target = bytes;
      bytes += rows * width;
      const place = ({ memory }, base, source, first, count) => {
        memory.bytes().copyWithin(base + target + first * width, source, source + count * width);
        return true;
      };
      placements.push({ initializer, rows, place });
    }
    return { bytes, placements, literals: [] };
  };
  const random = randomNumbers(5);
  const file = Buffer.from(Uint8Array.from({ length: 6_000_000 }, () => 256 * random()));

  test("pieces of every size make the bytes of the whole file", async () => {
    const expected = await packed(copies, wholePieces({ file }));
    assert.ok(expected.subarray(0, 24 * 160).equals(file.subarray(7, 7 + 24 * 160)));
    assert.ok(expected.subarray(-24 * 160).equals(file.subarray(7, 7 + 24 * 160)), "the shared one");
    const head = file.subarray(0, 5000);
    const bytewise = [...randomPieces({ file: head }, random, 1), { location: "file", offset: 5000, bytes: file.subarray(5000) }];
    assert.ok(expected.equals(await packed(copies, bytewise)));
    for (const largest of [1e4, 3e5, 1.2e6, 5e6]) {
      assert.ok(expected.equals(await packed(copies, randomPieces({ file }, random, largest))), `pieces up to ${largest}`);
    }
  });

  test("a missing byte is noticed", async () => {
    const short = file.subarray(0, 7 + 24 * 160 + 3 + 999);
    await assert.rejects(packed(copies, wholePieces({ file: short })), { code: "unsupported", message: /row of one byte lies beyond/ });
  });
});

for (const [model, name] of [
  ["minilm-distilbert", "model_quantized.onnx"],
  ["minilm-distilbert", "model.onnx"],
  ["smollm2-135m-instruct", "model_q4.onnx"],
]) {
  test(`${model}'s ${name} packs to the same bytes in chunks and shuffled`, { skip: modelMissing(model) }, async () => {
    const folder = join(modelDirectory(model), "onnx");
    const graph = await readFile(join(folder, name));
    const layoutOf = (kernels) => lowerModel(graph, kernels).weights;
    const kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
    const files = {};
    for (const { initializer } of layoutOf(kernels).placements) {
      const location = initializer.external?.location;
      if (location) files[location] ??= await readFile(join(folder, location));
    }
    const expected = await packed(layoutOf, wholePieces(files));
    assert.ok(expected.equals(await packed(layoutOf, randomPieces(files, randomNumbers(9), 2 ** 21))));
  });
}

test("what has come is packed while the rest is still on its way", { skip: modelMissing("minilm-distilbert") }, async (t) => {
  const folder = join(modelDirectory("minilm-distilbert"), "onnx");
  const graph = await readFile(join(folder, "model_quantized.onnx"));
  const location = "model_quantized.onnx_data";
  const contents = { [location]: await readFile(join(folder, location)) };
  const sizeBytes = contents[location].length;
  const server = await startShardServer(contents, { chunkSize: 1 << 20 });
  t.after(() => server.close());

  const kernels = await instantiateKernels(await compileKernels(BUILDS[2].file), false);
  const { weights } = lowerModel(graph, kernels);
  const base = kernels.memory.allocate(weights.bytes);
  const stream = new WeightStream(kernels, weights, base);
  const inMemory = () => kernels.memory.bytes().subarray(base, base + weights.bytes);
  const expected = await packed((other) => lowerModel(graph, other).weights, wholePieces(contents));

  // The request for the end of the file waits until everything else has come.
  let heldBytes = 0;
  let comeBytes = 0;
  let release;
  const released = new Promise((resolve) => (release = resolve));
  let shareWhenHeld = 0;
  const fetchGated = async (url, options) => {
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(options.headers.Range);
    if (Number(end) === sizeBytes - 1) {
      heldBytes = sizeBytes - Number(start);
      await released;
    }
    return fetch(url, options);
  };
  const delivery = await Delivery.open(server.manifest, [location], new MemoryStore(), { fetch: fetchGated });
  t.after(() => delivery.close());
  await delivery.stream([location], (_, offset, bytes) => {
    stream.take(location, offset, bytes);
    comeBytes += bytes.length;
    if (comeBytes !== sizeBytes - heldBytes) return;
    const memory = inMemory();
    shareWhenHeld = memory.reduce((sum, byte, at) => sum + Number(byte === expected[at]), 0) / memory.length;
    release();
  });
  stream.finish();
  assert.ok(heldBytes > 0 && heldBytes < sizeBytes / 4);
  assert.ok(shareWhenHeld >= 0.98 * (1 - heldBytes / sizeBytes), `${shareWhenHeld} was packed with ${heldBytes} of ${sizeBytes} missing`);
  assert.ok(expected.equals(inMemory()));
});
