/** Holds the choice of threads to machines that are made up: run times as functions of the number of threads. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ThreadChoice } from "../../../static/engine/thread_choice.js";

/** A machine on which a run with `count` threads takes `cost(count)` milliseconds. */
function machine(most, cost) {
  const state = { cost, used: 0, clock: 0, runs: 0, costs: [] };
  const work = () => {
    const time = state.cost(state.used);
    state.runs++;
    state.clock += time;
    return time;
  };
  const choice = new ThreadChoice(most, (count) => (state.used = count), () => state.clock);
  return { state, work, choice, run: (times) => Array.from({ length: times }, () => choice.timed(work)) };
}

/** Cores that share the work fully, up to `cores`; each thread more costs a little. */
const scaling = (cores, overhead = 0.02) => (count) => 8 / Math.min(count, cores) + overhead * count;

test("without measuring, the number that was given is kept whatever happens", () => {
  const { choice, state, run } = machine(3, scaling(8));
  run(100);
  state.cost = (count) => 8 * count;
  run(500);
  assert.equal(choice.count, 3);
  assert.equal(state.used, 3);
});

for (const [most, cores, expected] of [
  [1, 1, 1],
  [2, 2, 2],
  [4, 4, 4],
  [16, 6, 6],
  [16, 16, 16],
  [7, 16, 7],
  [8, 1, 1],
]) {
  test(`measuring finds ${expected} on ${most} threads where ${cores} help, in few runs`, () => {
    const { choice, state, work } = machine(most, scaling(cores));
    choice.measure(work);
    assert.equal(choice.count, expected);
    assert.ok(state.runs <= 40, `${state.runs} runs`);
    assert.equal(state.used, expected);
  });
}

test("threads that gain next to nothing stay free", () => {
  const { choice, work } = machine(4, (count) => 8 - 0.1 * count);
  choice.measure(work);
  assert.equal(choice.count, 1);
});

test("when the machine gets busy threads are given up, and taken back when it is quiet again", () => {
  const { choice, state, work, run } = machine(4, scaling(4));
  choice.measure(work);
  run(100);
  assert.equal(choice.count, 4);
  state.cost = (count) => 8 * count; // each thread more waits for one that does not run
  run(120);
  assert.equal(choice.count, 1);
  state.cost = scaling(4);
  run(600);
  assert.equal(choice.count, 4);
});

test("a disturbance while it is measured does not last", () => {
  const { choice, state, work, run } = machine(4, (count) => 8 * count);
  choice.measure(work);
  assert.equal(choice.count, 1);
  state.cost = scaling(4);
  run(600);
  assert.equal(choice.count, 4);
});

test("runs of another size are no slow runs: each is compared with its like", () => {
  const { choice, state } = machine(4, scaling(4));
  const run = (rows) => choice.timed(() => void ((state.clock += rows * scaling(4)(state.used) + 100), used.add(state.used)), rows);
  const used = new Set();
  choice.measure(() => void (state.clock += scaling(4)(state.used)));
  for (let round = 0; round < 300; round++) for (const rows of [70 + (round % 50), 4, 1]) run(rows);
  assert.deepEqual([...used], [4]);
});

test("a long prompt is no reason to try: its parts are compared with those of a like context", () => {
  const { choice, state } = machine(4, scaling(4));
  choice.measure(() => void (state.clock += scaling(4)(state.used)));
  const used = new Set();
  for (let round = 0; round < 5; round++) {
    for (let past = 0; past < 8192; past += 128) {
      const cost = () => void ((state.clock += 128 * (1 + past / 3000) * scaling(4)(state.used)), used.add(state.used));
      choice.timed(cost, 128, past + 128);
    }
  }
  assert.deepEqual([...used], [4]);
});

test("what was measured on a page that was still busy is tried again soon, at every size", () => {
  const { choice, state, work } = machine(2, (count) => 8 * count);
  choice.measure(work);
  assert.equal(choice.count, 1);
  state.cost = scaling(2);
  const used = Array.from({ length: 20 }, () => choice.timed(() => (work(), state.used), 128));
  assert.equal(used.at(-1), 2);
  assert.equal(choice.timed(() => (work(), state.used), 9), 2, "a new size begins with what was found last");
});

test("on a machine that stays busy little time goes into trying", () => {
  const { choice, state, work, run } = machine(4, scaling(4));
  choice.measure(work);
  run(100);
  state.cost = (count) => 8 * count;
  run(1000);
  const times = run(2000);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  assert.ok(mean < 1.03 * 8, `${mean}`);
});

test("an answer that slows down with its context is no reason to try", () => {
  const { choice, state, work } = machine(4, scaling(4));
  choice.measure(work);
  const used = new Set();
  for (let token = 0; token < 8000; token++) {
    state.cost = (count) => scaling(4)(count) * (1 + token / 4000);
    choice.timed(work);
    used.add(state.used);
  }
  assert.deepEqual([...used], [4]);
});

test("a single slow run changes nothing", () => {
  const { choice, state, work, run } = machine(2, scaling(2));
  choice.measure(work);
  const quiet = state.cost;
  for (let round = 0; round < 20; round++) {
    state.cost = (count) => 50 * quiet(count);
    run(1);
    state.cost = quiet;
    run(7);
    assert.equal(state.used, 2);
  }
});
