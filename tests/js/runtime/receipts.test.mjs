import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { conformalFactor, score } from "../../../static/device/intervals.js";
import { deviceClass, receiptsOf, runningError, sharedForm, withReceipt } from "../../../static/device/receipts.js";

const METRICS = ["load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes"];
const DEVICE = {
  threads: 6,
  deviceMemoryGib: 8,
  crossOriginIsolated: true,
  wasm: { simd: true, relaxedSimd: true, threads: true, memory64: false },
  webgpu: null,
  rates: { read_bytes_per_s: 11e9 },
};
const CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";

const receipt = (id = "11111111-1111-4111-8111-111111111111") => ({
  id,
  made_on: "2026-11-21",
  model: "m",
  revision: "0".repeat(64),
  dtype: "q4",
  backend: "wasm",
  threads: 2,
  prompt_tokens: 10,
  generated_tokens: 64,
  predicted: Object.fromEntries(METRICS.map((name) => [name, { expected: 2, interval: [1, 4] }])),
  raw: Object.fromEntries(METRICS.map((name) => [name, 2])),
  measured: Object.fromEntries(METRICS.map((name) => [name, 2.5])),
  shared: false,
});

test("receipts_roundtrip_and_the_oldest_go", () => {
  let kept = [];
  const add = (item) => (kept = receiptsOf(JSON.parse(JSON.stringify(withReceipt(kept, item)))));
  for (let at = 0; at < 230; at++) add(receipt(String(at)));
  assert.deepEqual([kept.length, kept[0].id, kept.at(-1).id], [200, "30", "229"]);
  add({ ...receipt("100"), shared: true });
  assert.equal(kept.filter(({ shared }) => shared).length, 1);
  assert.equal(kept.length, 200);
});

test("damaged_history_is_an_empty_one", () => {
  for (const kept of [undefined, null, "x", {}, [1, { id: "a" }]]) assert.deepEqual(receiptsOf(kept), []);
});

test("shared_form_has_the_fields_of_the_schema_and_no_more", async () => {
  const schema = JSON.parse(await readFile(new URL("../../../webapp/measurements/receipt.schema.json", import.meta.url), "utf8"));
  const form = sharedForm(receipt(), DEVICE, { userAgent: CHROME });
  assert.deepEqual(Object.keys(form).sort(), Object.keys(schema.properties).sort());
  for (const [name, part] of Object.entries(schema.properties)) {
    if (part.type === "object") assert.deepEqual(Object.keys(form[name]).sort(), Object.keys(part.properties).sort(), name);
  }
  for (const [name, { enum: classes }] of Object.entries(schema.properties.device.properties)) {
    if (classes) assert.ok(classes.includes(form.device[name]), `${name}: ${form.device[name]}`);
  }
  assert.deepEqual(form.predicted.load_s, [1, 2, 4]);
  assert.ok(!JSON.stringify(form).includes("Mozilla"));
});

test("running_error_is_of_answers_and_of_texts", () => {
  const off = (metric, ratio, decodes = true) => {
    const made = receipt(String(ratio));
    made.measured = { ...Object.fromEntries(METRICS.map((name) => [name, 2])), [metric]: 2 * ratio };
    if (!decodes) made.measured.decode_tokens_per_s = made.predicted.decode_tokens_per_s = null;
    return made;
  };
  const receipts = [off("decode_tokens_per_s", 1.25), off("time_to_first_token_s", 2.5, false), off("decode_tokens_per_s", 1)];
  const { count, median, inside } = runningError(receipts);
  assert.deepEqual([count, inside], [3, 2]);
  assert.ok(Math.abs(median - 0.2) < 1e-12);
  assert.equal(runningError([]), null);
});

test("devices_fall_into_classes", () => {
  const { platform, browser, cores, memory_gib, bandwidth_gb_per_s } = deviceClass(DEVICE, { userAgent: CHROME });
  assert.deepEqual([platform, browser, cores, memory_gib, bandwidth_gb_per_s], ["linux", "chromium", "5-8", "8", "8-16"]);
  const iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1";
  assert.deepEqual(
    [1, 2, 4, 16, 17].map((threads) => deviceClass({ ...DEVICE, threads, rates: null, deviceMemoryGib: null }, { userAgent: iphone }).cores),
    ["1", "2", "3-4", "9-16", "17+"],
  );
  assert.deepEqual(deviceClass(DEVICE, { userAgent: iphone }).platform, "ios");
  assert.deepEqual(deviceClass(DEVICE, { userAgent: "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0" }).browser, "firefox");
});

test("intervals_hold_what_they_state", () => {
  // Scores of one kind: the interval from 200 of them holds about nine in ten of the next.
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  let inside = 0;
  for (let round = 0; round < 300; round++) {
    const scores = Array.from({ length: 50 }, () => score(1, Math.exp(random() - 0.5)));
    if (score(1, Math.exp(random() - 0.5)) <= Math.log(conformalFactor(scores))) inside++;
  }
  assert.ok(inside / 300 > 0.85 && inside / 300 < 0.97, String(inside / 300));
  assert.equal(conformalFactor([]), Infinity);
});
