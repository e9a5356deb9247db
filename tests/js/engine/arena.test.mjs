/** Holds the arena planner to its promise on random lifetimes. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { lifetimesOf, planArena } from "../../../static/engine/arena.js";

test("buffers that live at the same time never overlap", () => {
  let state = 1;
  const next = (limit) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % limit;
  const lifetimes = Array.from({ length: 200 }, () => {
    const first = next(100);
    return { bytes: 1 + next(5000), first, last: first + next(8) };
  });
  const { offsets, bytes } = planArena(lifetimes);
  lifetimes.forEach((a, i) => {
    assert.ok(offsets[i] % 64 === 0 && offsets[i] + a.bytes <= bytes);
    lifetimes.slice(0, i).forEach((b, j) => {
      const together = a.first <= b.last && b.first <= a.last;
      const apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
      assert.ok(!together || apart, `buffers ${i} and ${j}`);
    });
  });
});

test("steps that are joined are one moment", () => {
  const steps = /** @type {any[]} */ ([
    { input: { buffer: 0, offset: 0 }, output: { buffer: 1, offset: 0 } },
    { input: { buffer: 1, offset: 0 }, output: { buffer: 2, offset: 0 }, joined: 1 },
    { input: { buffer: 2, offset: 0 }, output: { buffer: 3, offset: 0 } },
  ]);
  const lives = lifetimesOf(steps, [64, 64, 64, 64], [3]);
  assert.deepEqual(lives.map(({ first, last }) => [first, last]), [[0, 0], [0, 0], [0, 1], [1, 2]]);
});

test("buffers of a chain share two places", () => {
  const chain = Array.from({ length: 50 }, (_, at) => ({ bytes: 640, first: at, last: at + 1 }));
  assert.equal(planArena(chain).bytes, 2 * 640);
});
