/** The numbers of the progress bar, and the waits between attempts, with the clock and the dice passed in. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_RETRY, backoffMs } from "../../../static/delivery/backoff.js";
import { ProgressMeter, RateMeter } from "../../../static/delivery/progress.js";

test("a steady rate is right from the first interval on", () => {
  const rate = new RateMeter();
  for (let i = 0; i < 50; i++) {
    rate.add(100_000, 0.1);
    assert.ok(Math.abs(rate.bytesPerSecond - 1e6) < 1);
  }
});

test("the rate follows a change within seconds, and falls when nothing comes", () => {
  const rate = new RateMeter();
  for (let i = 0; i < 100; i++) rate.add(100_000, 0.1);
  for (let i = 0; i < 100; i++) rate.add(0, 0.1);
  assert.ok(rate.bytesPerSecond < 50_000);
});

test("irregular intervals weigh by their length", () => {
  const rate = new RateMeter();
  rate.add(1_000_000, 1);
  rate.add(0, 0);
  rate.add(10_000, 0.01);
  assert.ok(Math.abs(rate.bytesPerSecond - 1e6) < 1);
});

test("unfinished chunks count while they are followed, and the total is never passed", () => {
  let time = 0;
  const reports = [];
  const meter = new ProgressMeter(
    (report) => reports.push(report),
    () => time,
  );
  meter.totalBytes = 100;
  meter.storedBytes = 20;
  const unfinished = { filledBytes: 30 };
  const unfollow = meter.follow(unfinished);
  meter.networkBytes = 30;
  time = 1000;
  meter.report();
  assert.deepEqual(reports.at(-1), {
    phase: "check",
    totalBytes: 100,
    loadedBytes: 50,
    storedBytes: 20,
    networkBytes: 30,
    bytesPerSecond: 30,
    secondsLeft: 50 / 30,
  });
  unfollow();
  assert.equal(meter.loadedBytes, 20);
  meter.addFetched(90);
  assert.equal(meter.loadedBytes, 100);
});

test("without a rate the time left is unknown", () => {
  const reports = [];
  const meter = new ProgressMeter(
    (report) => reports.push(report),
    () => 0,
  );
  meter.totalBytes = 100;
  meter.report();
  assert.equal(reports[0].secondsLeft, null);
});

test("waits double up to the cap, with jitter below", () => {
  const policy = { attempts: 9, baseMs: 100, capMs: 1000 };
  assert.deepEqual(
    [1, 2, 3, 4, 5, 20].map((n) => backoffMs(n, policy, 0)),
    [50, 100, 200, 400, 500, 500],
  );
  assert.ok(backoffMs(3, policy, 0.999) < 400);
});

test("the default patience is about half a minute", () => {
  let total = 0;
  for (let n = 1; n <= DEFAULT_RETRY.attempts; n++) total += backoffMs(n, DEFAULT_RETRY, 0.999);
  assert.ok(total > 20_000 && total < 60_000);
});
