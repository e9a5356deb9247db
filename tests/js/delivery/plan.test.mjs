/** The planning of requests and removals, as pure functions. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { planSpans, removableContents } from "../../../static/delivery/plan.js";

const LIMITS = { connections: 4, maxSpanChunks: 8 };
const range = (first, end) => Array.from({ length: end - first }, (_, i) => first + i);
const chunksOf = (spans) =>
  spans.flatMap(({ file, first, end }) => range(first, end).map((index) => `${file}:${index}`));

test("plans every missing chunk once, in the order of files and chunks", () => {
  const missing = [range(0, 3), [0, 1, 5, 6, 9], [], range(2, 66)];
  const expected = missing.flatMap((chunks, file) => chunks.map((index) => `${file}:${index}`));
  assert.deepEqual(chunksOf(planSpans(missing, LIMITS)), expected);
});

test("spans never bridge a present chunk, never leave their file and never exceed the limit", () => {
  const missing = [[0, 1, 3, 4, 5], range(0, 40)];
  for (const { file, first, end } of planSpans(missing, LIMITS)) {
    assert.ok(end - first >= 1 && end - first <= 8);
    for (const index of range(first, end)) assert.ok(missing[file].includes(index));
  }
});

test("a small download is shared among all connections", () => {
  assert.deepEqual(
    planSpans([range(0, 8)], LIMITS).map(({ first, end }) => end - first),
    [2, 2, 1, 1, 1, 1],
  );
});

test("spans shrink towards the end, over file borders, so that the connections finish together", () => {
  const lengths = planSpans([range(0, 64), range(0, 10)], LIMITS).map(({ first, end }) => end - first);
  assert.equal(lengths[0], 8);
  assert.deepEqual(
    lengths,
    [...lengths].sort((a, b) => b - a),
  );
  assert.deepEqual(lengths.slice(-3), [1, 1, 1]);
});

test("nothing missing, nothing planned", () => {
  assert.deepEqual(planSpans([[], []], LIMITS), []);
});

test("removable: all of a variant that is alone", () => {
  assert.deepEqual(
    removableContents(["config", "a"], [["config", "b"]], (key) => (key === "b" ? 0 : 5)),
    ["config", "a"],
  );
});

test("removable: what another stored variant shares stays", () => {
  assert.deepEqual(
    removableContents(["config", "a"], [["config", "b"]], () => 5),
    ["a"],
  );
});
