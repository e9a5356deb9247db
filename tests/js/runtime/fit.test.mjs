import assert from "node:assert/strict";
import { test } from "node:test";
import { FeatherweightError } from "../../../static/errors.js";
import { chooseVariant, fitModel } from "../../../static/device/choice.js";
import { defaultThreads, fitVariant } from "../../../static/device/fit.js";
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
  rates: null,
});

const RATES = Object.freeze({
  measured_on: "2026-11-21",
  read_bytes_per_s: 1e10,
  start_s: 0.2,
  stored_bytes_per_s: 4e8,
  download_bytes_per_s: null,
  by_threads: [1, 4].map((threads) => ({
    threads,
    linear: {
      linear_4bit: { bytes_per_s: threads * 5e9, macs_per_s: threads * 2e10 },
      linear_float: { bytes_per_s: threads * 5e9, macs_per_s: threads * 2e10 },
    },
    attention: { bytes_per_s: threads * 4e9, macs_per_s: threads * 5e9 },
    elementwise_bytes_per_s: threads * 8e9,
    step_s: 5e-7,
    call_s: 2e-4,
    logit_s: 1e-9,
  })),
});

const VARIANT = Object.freeze({
  dtype: "q4",
  downloadBytes: 100e6,
  weightBytes: 96e6,
  largestTensorBytes: 30e6,
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
  const rates = { ...RATES, download_bytes_per_s: 10e6 };
  const [low, high] = verdict({}, { connection, rates }).download.seconds;
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
  const { supported, memory, why } = verdict({}, {}, { ...VARIANT, weightBytes: 4.3e9 });
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

test("a_store_that_is_full_of_the_model_itself_is_no_obstacle", () => {
  const full = { freeBytes: 0, presentBytes: 80e6 };
  const { supported, storage, why } = verdict(full);
  assert.deepEqual([supported, storage], [true, { need: 20e6, available: 0 }]);
  assert.ok(why.some((sentence) => /20 MB of it cannot be kept here: they are downloaded at every visit/.test(sentence)));
  assert.equal(verdict({ ...full, presentBytes: 40e6 }).supported, false);
});

test("no_isolation_means_one_thread", () => {
  const { plan, supported, why } = verdict({}, { crossOriginIsolated: false });
  assert.deepEqual([plan.threads, supported], [1, true]);
  assert.ok(why.some((sentence) => /one processor core/.test(sentence)));
});

test("speed_is_not_made_up", () => {
  const { smooth, ttft_s, decode_tokens_per_s, basis, why } = verdict();
  assert.deepEqual([smooth, ttft_s, decode_tokens_per_s, basis], [null, null, null, "nothing"]);
  assert.ok(why.includes("Speed was not measured on this device."));
  const elsewhere = verdict({ backend: "ort-wasm" }, { rates: RATES });
  assert.equal(elsewhere.decode_tokens_per_s, null);
  assert.ok(elsewhere.why.some((sentence) => /own engine only/.test(sentence)));
});

const PER_TOKEN = {
  linear_4bit: { bytes: 60e6, macs: 100e6 },
  attention: { bytes: 20000, macs: 30000 },
  elementwise: { bytes: 2e6, macs: 0 },
};
const MEASURED = { ...VARIANT, cost: { ...VARIANT.cost, perToken: PER_TOKEN, steps: 400 } };
const BIG = { contextLength: 8192, vocabSize: 50000, kvCache: { layers: 30, kvHeads: 3, headDim: 64 }, id: "m" };
const weigh = (facts = {}, variant = MEASURED, device = {}) =>
  fitVariant({ device: { ...DEVICE, rates: RATES, ...device }, manifest: manifestOf([variant], BIG), variant, ...facts });
const middle = ([low, high]) => Math.sqrt(low * high);

test("more_threads_and_fewer_bytes_are_faster", () => {
  const base = middle(weigh({ threads: 4 }).decode_tokens_per_s);
  assert.ok(middle(weigh({ threads: 1 }).decode_tokens_per_s) < base);
  const heavier = { ...MEASURED, cost: { ...MEASURED.cost, perToken: { ...PER_TOKEN, linear_4bit: { bytes: 90e6, macs: 150e6 } } } };
  assert.ok(middle(weigh({ threads: 4 }, heavier).decode_tokens_per_s) < base);
});

test("longer_prompts_and_contexts_are_slower", () => {
  assert.ok(middle(weigh({ promptTokens: 512 }).ttft_s) > 3 * middle(weigh({ promptTokens: 128 }).ttft_s));
  assert.ok(middle(weigh({ promptTokens: 4096 }).decode_tokens_per_s) < middle(weigh({ promptTokens: 64 }).decode_tokens_per_s));
});

test("an_attention_window_bounds_what_a_token_costs", () => {
  const perToken = { ...PER_TOKEN, attention: undefined, attention_window_256: PER_TOKEN.attention };
  delete perToken.attention;
  const variant = { ...MEASURED, cost: { ...MEASURED.cost, perToken } };
  const at = (promptTokens) => weigh({ promptTokens }, variant).expected.decode_tokens_per_s;
  assert.equal(at(512), at(4096));
  assert.ok(at(64) > at(512));
});

test("a_ghost_run_stands_in_for_the_rates", () => {
  const ghost = { load_s: null, time_to_first_token_s: 1.5, prefill_tokens_per_s: 85, decode_tokens_per_s: 33, peak_memory_bytes: 2e8 };
  const { expected, basis, memory } = weigh({ ghost });
  assert.deepEqual([expected.decode_tokens_per_s, expected.time_to_first_token_s, basis, memory.need], [33, 1.5, "ghost run", 2e8 + 64 * 2 ** 20]);
});

test("a_gpu_is_predicted_by_its_rates_and_judged_by_its_own_runs", () => {
  const gpu = { step_s: 2e-6, call_s: 5e-4, bytes_per_s: 2e11, macs_per_s: 3e12 };
  const webgpu = { vendor: "x", architecture: "y", description: "", isFallback: false, features: [], limits: { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 28 } };
  const device = { webgpu, rates: { ...RATES, gpu } };
  const { expected, decode_tokens_per_s, smooth, why } = weigh({}, MEASURED, device);
  assert.ok(expected.decode_tokens_per_s > weigh().expected.decode_tokens_per_s);
  assert.deepEqual([decode_tokens_per_s, smooth, expected.load_s, expected.peak_memory_bytes], [null, null, null, null]);
  assert.ok(why.some((sentence) => /measured on this GPU it gives about \d+ tokens/.test(sentence)));
  const ran = weigh({ receipts: Array.from({ length: 20 }, () => receipt(0.5, { backend: "ort-webgpu" })) }, MEASURED, device);
  assert.ok(ran.decode_tokens_per_s[1] > ran.expected.decode_tokens_per_s);
  assert.equal(weigh({ receipts: [receipt(0.5)] }, MEASURED, device).decode_tokens_per_s, null);
  const software = weigh({}, MEASURED, { webgpu: { ...webgpu, isFallback: true } });
  assert.ok(software.why.some((sentence) => /software renderer/.test(sentence)));
  assert.ok(software.decode_tokens_per_s);
  const small = { ...webgpu, limits: { maxBufferSize: 1e6, maxStorageBufferBindingSize: 1e6 } };
  const { why: told } = weigh({}, MEASURED, { webgpu: small });
  assert.ok(told.some((sentence) => /GPU does not run this: its largest matrix has 30 MB.* takes 1 MB in one binding/.test(sentence)));
});

const receipt = (ratio, facts = {}) => {
  const raw = { load_s: 1, time_to_first_token_s: 1, prefill_tokens_per_s: 100, decode_tokens_per_s: 50, peak_memory_bytes: 1e8 };
  const predicted = Object.fromEntries(Object.entries(raw).map(([name, value]) => [name, { expected: value, interval: [value / 2, value * 2] }]));
  const measured = { ...raw, decode_tokens_per_s: 50 * ratio };
  return { id: "r", model: "m", dtype: "q4", backend: "wasm", threads: 4, raw, predicted, measured, ...facts };
};

test("earlier_runs_correct_the_next_prediction", () => {
  const before = weigh({ threads: 4 }).expected.decode_tokens_per_s;
  const after = weigh({ threads: 4, receipts: [receipt(0.8), receipt(0.7), receipt(0.6)] });
  assert.ok(Math.abs(after.expected.decode_tokens_per_s / before - 0.7) < 1e-9);
  assert.equal(after.basis, "earlier runs here");
  // Two runs of another model are too few to judge this one by.
  const others = [receipt(0.5, { model: "x" }), receipt(0.5, { model: "x" })];
  assert.equal(weigh({ threads: 4, receipts: others }).expected.decode_tokens_per_s, before);
});

test("encoders_are_judged_by_encoders", () => {
  const width = (facts) => {
    const [low, high] = fitVariant({ device: { ...DEVICE, rates: RATES }, manifest: manifestOf([MEASURED], { ...BIG, kvCache: null }), variant: MEASURED, ...facts }).ttft_s;
    return high / low;
  };
  const late = (raw) => Array.from({ length: 40 }, () => receipt(1, { model: "x", threads: 2, raw, measured: { time_to_first_token_s: 5 } }));
  const decoders = late({ time_to_first_token_s: 1, decode_tokens_per_s: 50 });
  const encoders = late({ time_to_first_token_s: 1, decode_tokens_per_s: null });
  assert.equal(width({ receipts: decoders }), width({}));
  assert.ok(width({ receipts: encoders }) > width({}));
});

test("surprises_widen_the_interval", () => {
  const width = ([low, high]) => high / low;
  const calm = Array.from({ length: 40 }, () => receipt(1.01, { model: "x", threads: 2 }));
  const wild = Array.from({ length: 40 }, () => receipt(2, { model: "x", threads: 2 }));
  assert.ok(width(weigh({ receipts: wild }).decode_tokens_per_s) > width(weigh({ receipts: calm }).decode_tokens_per_s));
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

test("the_best_variant_is_the_preferred_one_that_runs_well", () => {
  const heavy = (dtype, factor, size) => ({
    ...MEASURED,
    dtype,
    downloadBytes: size,
    weightBytes: size,
    cost: { ...MEASURED.cost, perToken: { ...PER_TOKEN, linear_4bit: { bytes: 60e6 * factor, macs: 1e8 * factor } } },
  });
  const pick = (variants, facts = {}) => fitModel({ device: { ...DEVICE, rates: RATES }, manifest: manifestOf(variants, BIG), ...facts });
  const chosen = (variants, facts) => pick(variants, facts).plan.dtype;
  assert.equal(chosen([heavy("q8", 1, 2e8), heavy("q4", 1, 1e8)]), "q4");
  assert.equal(chosen([heavy("q8", 1, 2e8), heavy("q4", 50, 1e8)]), "q8");
  assert.equal(chosen([heavy("fp16", 60, 4e8), heavy("q8", 90, 2e8), heavy("q4", 99, 1e8)]), "fp16");
  assert.equal(chosen([heavy("q8", 1, 9e9), heavy("q4", 1, 8e9)]), "q4");
  assert.equal(chosen([heavy("q8", 1, 2e8), heavy("q4", 1, 1e8)], { dtype: "q8" }), "q8");
});

test("the_next_smaller_and_larger_are_weighed_as_the_chosen_one", () => {
  const variants = [["fp16", 4e8], ["q4", 1e8], ["q8", 2e8]].map(([dtype, size]) => ({ ...MEASURED, dtype, downloadBytes: size, weightBytes: size }));
  const facts = { device: { ...DEVICE, rates: RATES }, manifest: manifestOf(variants, BIG), contextLength: 512 };
  const { alternatives, why } = fitModel({ ...facts, dtype: "q8" });
  const { smaller, larger } = alternatives;
  assert.deepEqual([smaller.dtype, smaller.download_bytes, larger.dtype, larger.download_bytes], ["q4", 1e8, "fp16", 4e8]);
  const alone = fitModel({ ...facts, dtype: "q4" });
  assert.deepEqual([smaller.memory_bytes, smaller.decode_tokens_per_s], [alone.memory.need, alone.decode_tokens_per_s]);
  assert.equal(alone.alternatives.smaller, null);
  assert.match(why.at(-2), /^The next smaller, q4, is a download of 100 MB and .* tokens a second\.$/);
  // What a ghost run measured belongs to its variant alone.
  const ghost = { load_s: null, time_to_first_token_s: 1.5, prefill_tokens_per_s: 85, decode_tokens_per_s: 33, peak_memory_bytes: 2e8 };
  assert.deepEqual(fitModel({ ...facts, dtype: "q8", ghost }).alternatives, alternatives);
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
