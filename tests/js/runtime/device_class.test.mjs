/** What size of model a device carries: as fast as people read, and within the memory of a tab. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { deviceClass } from "../../../static/device/device_class.js";

const GIB = 2 ** 30;

function device(bytesPerSecond, deviceMemoryGib = 8) {
  const linear = { linear_4bit: { bytes_per_s: bytesPerSecond, macs_per_s: 1e10 } };
  const slower = { linear_4bit: { bytes_per_s: bytesPerSecond / 2, macs_per_s: 1e10 } };
  return { deviceMemoryGib, rates: { by_threads: [{ threads: 1, linear: slower }, { threads: 2, linear }] } };
}

test("a_slow_device_is_held_back_by_its_speed", () => {
  assert.deepEqual(deviceClass(device(7e9)), { bytes: 1e9, limit: "speed" });
});

test("a_fast_device_is_held_back_by_its_memory", () => {
  const { bytes, limit } = deviceClass(device(1e12, 2));
  assert.equal(limit, "memory");
  assert.ok(bytes > 0.7 * GIB && bytes < GIB);
});

test("without_a_measurement_there_is_no_class", () => {
  assert.equal(deviceClass({ deviceMemoryGib: 8, rates: null }), null);
});
