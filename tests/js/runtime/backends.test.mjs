import assert from "node:assert/strict";
import { test } from "node:test";
import { FeatherweightError } from "../../../static/errors.js";
import { toFeatherweightError } from "../../../static/backends/ort_errors.js";
import { chooseBackends } from "../../../static/backends/registry.js";

const LIMITS = { maxBufferSize: 2 ** 28, maxStorageBufferBindingSize: 2 ** 27 };
const GPU = { isFallback: false, features: ["shader-f16"], limits: LIMITS };
/** The choice among the backends on onnxruntime-web; other rows come and go without these tests. */
const names = (name, facts, dtype = "q4") =>
  chooseBackends(name, { simd: true, webgpu: null, ...facts }, { dtype, largestTensorBytes: 2 ** 27 })
    .map((row) => row.name)
    .filter((found) => found.startsWith("ort-"));
const unsupported = (pattern) => (error) => error instanceof FeatherweightError && error.code === "unsupported" && pattern.test(error.message);

test("auto_prefers_a_real_gpu_and_falls_back", () => {
  assert.deepEqual(names("auto", { webgpu: GPU }), ["ort-webgpu", "ort-wasm"]);
  assert.deepEqual(names("auto", {}), ["ort-wasm"]);
});

test("auto_leaves_a_software_gpu_alone", () => {
  const webgpu = { ...GPU, isFallback: true };
  assert.deepEqual(names("auto", { webgpu }), ["ort-wasm"]);
  assert.deepEqual(names("ort-webgpu", { webgpu }), ["ort-webgpu"]);
});

test("half_precision_needs_the_gpu_feature", () => {
  const webgpu = { ...GPU, features: [] };
  assert.deepEqual(names("auto", { webgpu }, "q4f16"), ["ort-wasm"]);
  assert.throws(() => names("ort-webgpu", { webgpu }, "q4f16"), unsupported(/shader-f16/));
});

test("a_gpu_needs_room_for_the_largest_matrix_in_one_binding_and_in_one_buffer", () => {
  // An encoder with the table of a multilingual vocabulary: it has no head, whose cost would tell of the table.
  const variant = { dtype: "fp16", encoder: null, largestTensorBytes: 3e8, cost: { perToken: { linear_float: { bytes: 1e8, macs: 5e7 } } } };
  const choose = (name, limits) => chooseBackends(name, { simd: true, webgpu: { ...GPU, limits } }, variant).map((row) => row.name);
  const roomy = { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 30 };
  assert.equal(choose("auto", roomy)[0], "ort-webgpu");
  for (const [limit, said] of [
    ["maxStorageBufferBindingSize", /its largest matrix has 300 MB, and this GPU takes 134 MB in one binding \(maxStorageBufferBindingSize\)/],
    ["maxBufferSize", /its largest matrix has 300 MB, and this GPU takes 134 MB in one buffer \(maxBufferSize\)/],
  ]) {
    const limits = { ...roomy, [limit]: 2 ** 27 };
    assert.deepEqual(choose("auto", limits), ["wasm", "ort-wasm"]);
    assert.throws(() => choose("ort-webgpu", limits), unsupported(said));
  }
});

test("encoder_decoders_run_on_the_processor", () => {
  const variant = { dtype: "q4", encoder: { graph: "onnx/encoder_model_q4.onnx" } };
  const choose = (name) => chooseBackends(name, { simd: true, webgpu: GPU }, variant).map((row) => row.name);
  assert.deepEqual(choose("auto"), ["wasm", "ort-wasm"]);
  assert.throws(() => choose("ort-webgpu"), unsupported(/now and then/));
});

test("rejects_unknown_backend_and_names_the_others", () => {
  assert.throws(() => names("cuda", {}), unsupported(/"cuda".*auto, ort-webgpu,.* ort-wasm/));
});

test("rejects_what_cannot_run_here", () => {
  assert.throws(() => names("ort-webgpu", {}), unsupported(/WebGPU/));
  assert.throws(() => names("auto", { simd: false }), unsupported(/SIMD/));
});

test("a_backend_is_a_row", () => {
  const row = { name: "wasm", obstacle: () => null, automatic: () => true, open: async () => ({ name: "wasm", load: async () => null }) };
  assert.deepEqual(chooseBackends("auto", { simd: true, webgpu: null }, { dtype: "q4" }, [row]).map((found) => found.name), ["wasm"]);
});

test("runtime_errors_get_their_code", () => {
  const codes = [
    [new Error("Can't create a session. failed to allocate a buffer of size 5."), "out_of_memory"],
    [new Error("Can't create a session. ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc"), "out_of_memory"],
    [new RangeError("Array buffer allocation failed"), "out_of_memory"],
    [70113400, "out_of_memory"],
    [new Error("WebGPU device lost: the GPU process crashed"), "device_lost"],
    [new Error("failed to call OrtRun(). Non-zero status code: Program Gather requires f16"), "unsupported"],
    [new FeatherweightError("integrity", "No."), "integrity"],
  ];
  for (const [thrown, code] of codes) assert.equal(toFeatherweightError(thrown, "It failed").code, code, String(thrown));
});
