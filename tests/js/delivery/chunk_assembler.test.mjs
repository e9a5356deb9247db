/** The cutting of a stream into chunks: any piece sizes, gaps, skips and continuations. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

import { ChunkAssembler } from "../../../static/delivery/chunk_assembler.js";

const CHUNK = 10;
const FILE = randomBytes(47);
const all = () => true;

/** Pushes FILE from `offset` in pieces of these lengths; returns the chunks as copies. */
function feed(assembler, offset, lengths, end = FILE.length) {
  const chunks = [];
  assembler.seek(offset);
  for (let i = 0; offset < end; i++) {
    const piece = FILE.subarray(offset, Math.min(end, offset + lengths[i % lengths.length]));
    for (const { index, bytes } of assembler.push(piece)) chunks.push([index, Buffer.from(bytes)]);
    offset += piece.length;
  }
  return chunks;
}

function assertChunks(chunks, indices) {
  assert.deepEqual(
    chunks.map(([index]) => index),
    indices,
  );
  for (const [index, bytes] of chunks)
    assert.ok(bytes.equals(FILE.subarray(index * CHUNK, (index + 1) * CHUNK)), `chunk ${index}`);
}

for (const lengths of [[1], [3, 7], [10], [11], [47], [23, 1]]) {
  test(`roundtrip with pieces of ${lengths} bytes`, () => {
    const assembler = new ChunkAssembler(FILE.length, CHUNK);
    assembler.want(0, 5, all);
    assertChunks(feed(assembler, 0, lengths), [0, 1, 2, 3, 4]);
    assert.equal(assembler.wantsMore, false);
  });

  test(`skips what is not wanted, with pieces of ${lengths} bytes`, () => {
    const assembler = new ChunkAssembler(FILE.length, CHUNK);
    assembler.want(1, 5, (index) => index !== 2);
    assert.equal(assembler.position, 10);
    assertChunks(feed(assembler, 0, lengths), [1, 3, 4]);
  });

  test(`continues a broken stream, by range or from the beginning, with pieces of ${lengths} bytes`, () => {
    for (const again of [16, 0]) {
      const assembler = new ChunkAssembler(FILE.length, CHUNK);
      assembler.want(0, 5, all);
      assertChunks(feed(assembler, 0, lengths, 16), [0]);
      assert.equal(assembler.position, 16);
      assertChunks(feed(assembler, again, lengths), [1, 2, 3, 4]);
    }
  });
}

test("wanting more keeps the part of a chunk that is here, if it comes first", () => {
  const assembler = new ChunkAssembler(FILE.length, CHUNK);
  assembler.want(2, 3, all);
  feed(assembler, 20, [4], 24);
  assembler.want(0, 5, (index) => index >= 2);
  assert.equal(assembler.position, 24);
  assembler.want(0, 5, all);
  assert.equal(assembler.position, 0);
});

test("endPosition stops at the file's end", () => {
  const assembler = new ChunkAssembler(FILE.length, CHUNK);
  assembler.want(3, 5, all);
  assert.equal(assembler.endPosition, 47);
});
