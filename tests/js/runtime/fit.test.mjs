import assert from "node:assert/strict";
import { test } from "node:test";
import { FeatherweightError } from "../../../static/errors.js";
import { chooseVariant, defaultThreads, fitVariant } from "../../../static/device/fit.js";
import { probeWasm } from "../../../static/device/probe.js";

const GIB = 2 ** 30;

const DEVICE = Object.freeze({
  threads: 8,
  secureContext: true,
  crossOriginIsolated: true,
  wasm: { simd: true, relaxedSimd: true, threads: true, memory64: true },
  webgpu: null,
  storage: { quotaBytes: 10e9, usageBytes: 1e9, persisted: false },
  connection: null,
  deviceMemoryGib: 8,
});

const VARIANT = Object.freeze({
  dtype: "q4",
  downloadBytes: 100e6,
  weightBytes: 96e6,
  cost: { kvBytesPerToken: 46080, activationBytesPerToken: 30000, perToken: {}, steps: 1 },
});

function manifestOf(variants, model = {}) {
  return {
    model: { name: "M", contextLength: 8192, kvCache: { layers: 30, kvHeads: 3, headDim: 64 }, ...model },
    variants,
    variant: (dtype) => variants.find((variant) => variant.dtype === dtype) ?? assert.fail(dtype),
  };
}

const verdict = (facts = {}, device = {}, variant = VARIANT) =>
  fitVariant({ device: { ...DEVICE, ...device }, manifest: manifestOf([variant]), variant, ...facts });

test("download_is_exact", () => {
  assert.deepEqual(verdict().download, { bytes: 100e6, remaining_bytes: 100e6, seconds: null });
  assert.equal(verdict({ presentBytes: 30e6 }).download.remaining_bytes, 70e6);
});

test("nothing_to_download_takes_no_time", () => {
  const { download, why } = verdict({ presentBytes: 100e6 });
  assert.deepEqual([download.remaining_bytes, download.seconds], [0, [0, 0]]);
  assert.ok(why.includes("It is on this device already."));
});

test("seconds_are_an_interval_around_the_rate", () => {
  const connection = { downlinkMbps: 4, rttMs: 50, saveData: false };
  assert.deepEqual(verdict({}, { connection }).download.seconds, [100, 400]);
  // At the browser's cap the rate is a lower bound only.
  const capped = { ...connection, downlinkMbps: 10 };
  assert.deepEqual(verdict({}, { connection: capped }).download.seconds, [0.8, 160]);
  const [low, high] = verdict({ bytesPerSecond: 10e6 }, { connection }).download.seconds;
  assert.ok(low < 10 && 10 < high && high < 14);
});

test("memory_grows_with_the_context", () => {
  const short = verdict({ contextLength: 512 }).memory.need;
  const long = verdict({ contextLength: 8192 }).memory.need;
  assert.ok(long - short >= (8192 - 512) * 46080);
  assert.equal(verdict({ contextLength: 1e9 }).memory.need, long);
  assert.equal(verdict({ contextLength: 1e9 }).plan.context_length, 8192);
});

test("too_large_for_the_address_space_is_unsupported", () => {
  const { supported, memory, why } = verdict({}, {}, { ...VARIANT, weightBytes: 3e9 });
  assert.deepEqual([supported, memory.limit], [false, 4 * GIB]);
  assert.ok(why.some((sentence) => /more than the .*WebAssembly can address/.test(sentence)));
});

test("small_devices_lower_the_limit", () => {
  const { memory } = verdict({}, { deviceMemoryGib: 2 });
  assert.equal(memory.limit, GIB);
  assert.match(memory.basis, /2 GiB that the browser reports/);
  const { why } = verdict({}, { deviceMemoryGib: null });
  assert.ok(why.some((sentence) => /does not say how much memory/.test(sentence)));
});

test("too_little_storage_is_unsupported", () => {
  const storage = { quotaBytes: 50e6, usageBytes: 10e6, persisted: false };
  const { supported, storage: told, why } = verdict({}, { storage });
  assert.deepEqual([supported, told], [false, { need: 100e6, available: 40e6 }]);
  assert.ok(why.some((sentence) => /only 40 MB more storage/.test(sentence)));
  assert.equal(verdict({ presentBytes: 90e6 }, { storage }).supported, true);
});

test("no_isolation_means_one_thread", () => {
  const { plan, supported, why } = verdict({}, { crossOriginIsolated: false });
  assert.deepEqual([plan.threads, supported], [1, true]);
  assert.ok(why.some((sentence) => /one processor core/.test(sentence)));
});

test("speed_is_not_made_up", () => {
  const { smooth, ttft_s, decode_tokens_per_s, why } = verdict();
  assert.deepEqual([smooth, ttft_s, decode_tokens_per_s], [null, null, null]);
  assert.ok(why.includes("Speed is not predicted yet."));
});

test("verdict_is_plain_data", () => {
  const made = verdict();
  assert.deepEqual(JSON.parse(JSON.stringify(made)), made);
});

test("default_variant_is_the_smallest_kind", () => {
  const variants = ["fp32", "q8", "q4f16", "q4"].map((dtype) => ({ ...VARIANT, dtype }));
  assert.equal(chooseVariant(manifestOf(variants)).dtype, "q4");
  assert.equal(chooseVariant(manifestOf(variants.slice(0, 2))).dtype, "q8");
  assert.equal(chooseVariant(manifestOf(variants), "fp32").dtype, "fp32");
  assert.throws(() => chooseVariant(manifestOf([])), FeatherweightError);
});

test("threads_follow_the_cores", () => {
  assert.deepEqual([0, 1, 2, 4, 8, 12, 64].map(defaultThreads), [1, 1, 2, 4, 4, 6, 8]);
});

test("wasm_features_are_found", () => {
  // What the Node that runs these tests has for certain; relaxed SIMD and memory64 differ between versions.
  const { simd, threads, relaxedSimd, memory64 } = probeWasm();
  assert.deepEqual([simd, threads], [true, true]);
  assert.deepEqual([typeof relaxedSimd, typeof memory64], ["boolean", "boolean"]);
});
