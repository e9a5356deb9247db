import assert from "node:assert/strict";
import { test } from "node:test";
import { ratesFor, ratesThatHold } from "../../../static/device/rates.js";

const DAY = 24 * 3600 * 1000;
const CONDITIONS = {
  threads: 8,
  isolated: true,
  gpu: null,
  wasm: { simd: true, relaxedSimd: true, threads: true, memory64: false },
  browser: "Chrome/156",
  build: '"1"',
};
const RATES = { by_threads: [{ threads: 1 }, { threads: 4 }] };
const KEPT = { conditions: CONDITIONS, at: 100 * DAY, rates: RATES };
const holds = (changes = {}, now = 101 * DAY, kept = KEPT) => ratesThatHold(kept, { ...CONDITIONS, ...changes }, now) !== null;

test("rates_hold_for_a_week", () => {
  assert.ok(holds());
  assert.ok(holds({}, 106.9 * DAY));
  assert.ok(!holds({}, 107 * DAY));
  assert.ok(!holds({}, 99 * DAY)); // the clock was set back
});

test("other_conditions_are_measured_anew", () => {
  assert.ok(!holds({ threads: 4 }));
  assert.ok(!holds({ isolated: false }));
  assert.ok(!holds({ wasm: { ...CONDITIONS.wasm, relaxedSimd: false } }));
  assert.ok(!holds({ gpu: "intel xe" }));
  assert.ok(!holds({ browser: "Chrome/157" }));
  assert.ok(!holds({ build: '"2"' }));
});

test("a_server_that_is_away_changes_nothing", () => assert.ok(holds({ build: null })));

test("a_damaged_copy_is_none", () => {
  for (const kept of [undefined, null, 3, "x", {}, { ...KEPT, rates: null }, { ...KEPT, rates: { by_threads: [] } }, { ...KEPT, at: "x" }, { ...KEPT, conditions: null }]) {
    assert.equal(ratesThatHold(kept, CONDITIONS, 101 * DAY), null);
  }
});

test("rates_of_the_next_lower_thread_count", () => {
  assert.deepEqual([1, 2, 3, 4, 9].map((threads) => ratesFor(RATES, threads).threads), [1, 1, 1, 4, 4]);
});
