import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../../../static/app/format.js";

test("sizes_have_two_or_three_digits_and_decimal_units", () => {
  assert.equal(format.formatBytes(0), "0 bytes");
  assert.equal(format.formatBytes(999), "999 bytes");
  assert.equal(format.formatBytes(1_000), "1.0 kB");
  assert.equal(format.formatBytes(98_498_000), "98 MB");
  assert.equal(format.formatBytes(999_600_000), "1.0 GB");
  assert.equal(format.formatBytes(1_410_000_000), "1.4 GB");
});

test("part_of_a_whole_says_a_shared_unit_once", () => {
  assert.equal(format.formatPart(41e6, 98e6), "41 of 98 MB");
  assert.equal(format.formatPart(467e3, 91e6), "467 kB of 91 MB");
  assert.equal(format.formatPart(0, 98e6), "0 of 98 MB");
  assert.equal(format.formatPart(2e9, 98e6), "98 of 98 MB");
});

test("times_are_as_exact_as_one_says_them", () => {
  assert.equal(format.formatSeconds(0.4213), "0.42 s");
  assert.equal(format.formatSeconds(5.08), "5.1 s");
  assert.equal(format.formatSeconds(59.7), "1 min");
  assert.equal(format.formatSeconds(185), "3 min 5 s");
  assert.equal(format.formatSeconds(4_800), "1 h 20 min");
});

test("time_left_moves_in_steps", () => {
  assert.equal(format.formatTimeLeft(3), "a few seconds left");
  assert.equal(format.formatTimeLeft(36), "about 40 s left");
  assert.equal(format.formatTimeLeft(61), "about 1 min 10 s left");
});

test("speeds_have_three_digits", () => {
  assert.deepEqual([1.978, 23.14, 398.2].map(format.formatRate), ["1.98", "23.1", "398"]);
});

test("parameters_are_counted_as_the_field_does", () => {
  assert.deepEqual([90_400, 22_564_608, 134_515_008, 2_506_172_416].map(format.formatParameters), ["90 k", "23 M", "135 M", "2.5 B"]);
});

test("counts_have_their_plural", () => {
  assert.equal(format.countOf(1, "passage"), "1 passage");
  assert.equal(format.countOf(1200, "passage"), "1,200 passages");
});

test("probabilities_are_percentages", () => {
  assert.deepEqual([0.826, 0.0421, 0.00097, 0.0994, 0.0996, 1].map(format.formatShare), ["83 %", "4.2 %", "<0.1 %", "9.9 %", "10 %", "100 %"]);
});
