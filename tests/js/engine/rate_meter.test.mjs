// The probe's timing of kernels: complete where there is time, and over in time where the machine is busy.
import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateKernels } from "../../../static/engine/kernels.js";
import { RateMeter } from "../../../static/engine/rate_meter.js";
import { shareOfTime } from "../../../static/engine/timings.js";
import { BUILDS, compileKernels, createWorker, kernelsMissing } from "./node_engine.mjs";

const CLASSES = ["linear_4bit", "linear_8bit", "linear_float"];

async function withMeter(threads, use) {
  const { file, shared } = BUILDS[0];
  const module = await compileKernels(file);
  const meter = await RateMeter.open({ module, kernels: await instantiateKernels(module, shared), threads, createWorker });
  try {
    return await use(meter);
  } finally {
    meter.close();
  }
}

/** What was told, and a clock that only goes on when it is asked: by `step(n)` milliseconds at its n-th call. */
async function measureWith(meter, deadline, step, latest = deadline) {
  const told = [];
  let now = 0;
  let calls = 0;
  const clock = () => (now += step(calls++));
  await meter.measure({ deadline, latest, clock, pause: async () => {}, onRates: (measured) => told.push(measured) });
  return { told, now, calls };
}

function assertWhole({ linear, attention, elementwise_bytes_per_s }) {
  assert.deepEqual(Object.keys(linear).sort(), CLASSES);
  for (const { bytes_per_s, macs_per_s } of [...Object.values(linear), attention]) {
    assert.ok(bytes_per_s > 0 && Number.isFinite(bytes_per_s) && macs_per_s > 0 && Number.isFinite(macs_per_s));
  }
  assert.ok(elementwise_bytes_per_s > 0);
}

test("every_thread_count_is_measured_when_there_is_time", { skip: kernelsMissing }, () =>
  withMeter(2, async (meter) => {
    const { told } = await measureWith(meter, 100, () => 0.05);
    assert.deepEqual(told.map(({ by_threads }) => by_threads.map(({ threads }) => threads)), [[1], [1, 2], [1, 2], [1, 2]]);
    told.at(-1).by_threads.forEach(assertWhole);
  }),
);

test("a_busy_machine_is_measured_in_pieces_and_no_longer", { skip: kernelsMissing }, () =>
  withMeter(2, async (meter) => {
    // Whatever runs takes 40 ms: 3000 ms are enough for a piece of each part on one thread, and not for two.
    const { told, now } = await measureWith(meter, 3000, () => 40);
    assert.deepEqual(told.map(({ by_threads }) => by_threads.map(({ threads }) => threads)), [[1]]);
    assertWhole(told[0].by_threads[0]);
    assert.ok(now <= 3000 + 4 * 40, `ended at ${now}`);
  }),
);

test("one_thread_has_until_the_latest_moment", { skip: kernelsMissing }, () =>
  withMeter(2, async (meter) => {
    const { told, now } = await measureWith(meter, 200, () => 40, 3000);
    assert.deepEqual(told.map(({ by_threads }) => by_threads.map(({ threads }) => threads)), [[1]]);
    assertWhole(told[0].by_threads[0]);
    assert.ok(now <= 3000, `ended at ${now}`);
  }),
);

test("nothing_begins_after_the_deadline", { skip: kernelsMissing }, () =>
  withMeter(1, async (meter) => {
    const { told, calls } = await measureWith(meter, 1000, (call) => (call === 20 ? 5000 : 0.1));
    assert.deepEqual(told, []);
    assert.ok(calls <= 24, `the clock was asked ${calls} times`);
  }),
);

test("an_abort_ends_the_measuring", { skip: kernelsMissing }, () =>
  withMeter(1, async (meter) => {
    let pauses = 0;
    const pause = async () => {
      if (++pauses === 3) throw new Error("stopped");
    };
    let now = 0;
    await assert.rejects(meter.measure({ deadline: 1000, latest: 1000, clock: () => (now += 1), pause, onRates() {} }), /stopped/);
    assert.equal(pauses, 3);
  }),
);

/** So many whole runs. */
const runs = (count, seconds) => Array.from({ length: count }, (_, at) => ({ seconds: seconds(at), done: 1 }));

test("a_machine_that_does_nothing_else_gives_all_of_its_time", () => {
  // In spite of small differences, and of a slow start.
  assert.equal(shareOfTime([runs(20, (at) => (at < 5 ? 0.05 : 0.01 + 0.0005 * (at % 3)))]), 1);
  assert.equal(shareOfTime([runs(1, () => 0.02)]), 1);
  assert.equal(shareOfTime([]), 1);
});

test("pauses_that_a_limit_makes_count_although_the_best_run_had_none", () => {
  const share = shareOfTime([runs(40, (at) => (at % 5 === 4 ? 0.06 : 0.01)), runs(40, (at) => (at % 5 === 4 ? 0.06 : 0.01))]);
  assert.ok(share > 0.45 && share < 0.65, String(share));
});

test("a_pause_in_a_run_that_time_cut_short_counts_too", () => {
  const share = shareOfTime([[...runs(5, () => 0.01), { seconds: 0.06, done: 0.25 }]]);
  assert.ok(share < 0.5, String(share));
});

test("one_long_pause_in_one_part_of_many_changes_little", () => {
  const quiet = Array.from({ length: 9 }, () => runs(10, () => 0.005));
  assert.ok(shareOfTime([...quiet, [...runs(9, () => 0.005), { seconds: 0.03, done: 1 }]]) > 0.95);
});
