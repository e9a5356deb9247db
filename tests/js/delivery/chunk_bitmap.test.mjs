/** The record of present chunks: its bytes, and what is not believed. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ChunkBitmap } from "../../../static/delivery/store/chunk_bitmap.js";

test("roundtrip", () => {
  const bitmap = new ChunkBitmap(6_000_000_001, 1 << 20);
  for (const index of [0, 7, 8, 4000, bitmap.count - 1]) bitmap.set(index, true);
  const again = ChunkBitmap.decode(bitmap.encode());
  assert.deepEqual([again.sizeBytes, again.chunkSize], [6_000_000_001, 1 << 20]);
  assert.deepEqual(again.status(), bitmap.status());
  assert.equal(again.status().missing.length, bitmap.count - 5);
});

test("encodedByte is where encode puts the chunk", () => {
  const bitmap = new ChunkBitmap(100, 5);
  bitmap.set(13, true);
  const { at, byte } = bitmap.encodedByte(13);
  assert.equal(bitmap.encode()[at], byte[0]);
  assert.equal(byte[0], 1 << 5);
});

test("the last chunk counts with its own length", () => {
  const bitmap = new ChunkBitmap(23, 10);
  bitmap.set(2, true);
  assert.deepEqual(bitmap.status(), { presentBytes: 3, complete: false, missing: [0, 1] });
});

test("an empty file is complete", () => {
  assert.deepEqual(new ChunkBitmap(0, 10).status(), { presentBytes: 0, complete: true, missing: [] });
});

test("clip forgets chunks beyond the data", () => {
  const bitmap = new ChunkBitmap(23, 10);
  for (const index of [0, 1, 2]) bitmap.set(index, true);
  bitmap.clip(22);
  assert.deepEqual(bitmap.status().missing, [2]);
  bitmap.clip(0);
  assert.deepEqual(bitmap.status().missing, [0, 1, 2]);
});

test("rejects_damaged_record", () => {
  const good = new ChunkBitmap(23, 10).encode();
  const withByte = (at, value) => Object.assign(good.slice(), { [at]: value });
  for (const bad of [
    new Uint8Array(0),
    good.subarray(0, 24),
    withByte(0, 0),
    withByte(4, 9),
    withByte(8, 0),
    new Uint8Array([...good, 0]),
  ]) {
    assert.equal(ChunkBitmap.decode(bad), null);
  }
});
