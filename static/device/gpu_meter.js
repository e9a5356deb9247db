/** Owns the timing of a GPU through WebGPU: what a dispatch costs, how fast it reads memory, how fast it multiplies. */

import { FeatherweightError } from "../errors.js";

/**
 * @typedef {object} GpuRates
 * @property {number} step_s what a dispatch costs beside its work, when it waits for the one before it
 * @property {number} call_s from a submission to its result
 * @property {number} bytes_per_s read by all threads together
 * @property {number} macs_per_s of float32 matrices, through workgroup memory
 */

const READ_BYTES = 64 * 2 ** 20;
const THREADS = 64;
const GROUPS = 1024;
const TILE = 16;
/** A prompt of 128 rows times a square matrix. */
const ROWS = 128;
const WIDTH = 1024;
const DISPATCHES = 256;
/** Runs of a kernel in one submission, so that the waiting for it counts little. */
const REPEATS = 4;

/** WebGPU (W3C) knows these by number: buffer usages STORAGE and COPY_SRC. */
const STORAGE = 0x80 | 0x4;

const SHADERS = {
  touch: `
    @group(0) @binding(0) var<storage, read_write> a: array<f32>;
    @compute @workgroup_size(1) fn main() { a[0] = a[0] + 1.0; }`,
  read: `
    @group(0) @binding(0) var<storage, read_write> a: array<vec4f>;
    @group(0) @binding(1) var<storage, read_write> b: array<vec4f>;
    @compute @workgroup_size(${THREADS}) fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = vec4f();
      for (var at = id.x; at < ${READ_BYTES / 16}u; at += ${THREADS * GROUPS}u) { sum += b[at]; }
      a[id.x] = sum;
    }`,
  multiply: `
    @group(0) @binding(0) var<storage, read_write> c: array<f32>;
    @group(0) @binding(1) var<storage, read_write> m: array<f32>;
    var<workgroup> left: array<array<f32, ${TILE}>, ${TILE}>;
    var<workgroup> right: array<array<f32, ${TILE}>, ${TILE}>;
    @compute @workgroup_size(${TILE}, ${TILE}) fn main(@builtin(local_invocation_id) at: vec3u, @builtin(global_invocation_id) id: vec3u) {
      var sum = 0.0;
      for (var k = 0u; k < ${WIDTH}u; k += ${TILE}u) {
        left[at.y][at.x] = m[id.y * ${WIDTH}u + k + at.x];
        right[at.y][at.x] = m[(k + at.y) * ${WIDTH}u + id.x];
        workgroupBarrier();
        for (var i = 0u; i < ${TILE}u; i++) { sum += left[at.y][i] * right[i][at.x]; }
        workgroupBarrier();
      }
      c[id.y * ${WIDTH}u + id.x] = sum;
    }`,
};

export class GpuMeter {
  #device;
  /** @type {Record<string, {pipeline: any, group: any}>} */
  #kernels = {};

  /**
   * Compiles what is timed, so that it does not count.
   * @param {any} adapter GPUAdapter
   * @returns {Promise<GpuMeter>}
   * @throws whatever WebGPU throws
   */
  static async open(adapter) {
    const meter = new GpuMeter(await adapter.requestDevice());
    await meter.#compile();
    return meter;
  }

  /** @param {any} device GPUDevice */
  constructor(device) {
    this.#device = device;
  }

  async #compile() {
    const device = this.#device;
    const results = device.createBuffer({ size: 4 * ROWS * WIDTH + 16 * THREADS * GROUPS, usage: STORAGE });
    const weights = device.createBuffer({ size: READ_BYTES, usage: STORAGE });
    for (const [name, code] of Object.entries(SHADERS)) {
      const module = device.createShaderModule({ code });
      const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
      const buffers = name === "touch" ? [results] : [results, weights];
      const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
      this.#kernels[name] = { pipeline, group: device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }) };
    }
  }

  /**
   * @param {number} share of time for each of four timings, milliseconds
   * @param {number} deadline of `clock`, for all of them
   * @param {() => number} clock milliseconds
   * @param {number} [repeats] fewer for a slow one
   * @returns {Promise<GpuRates>}
   * @throws {FeatherweightError} device_lost: it did not answer in time
   */
  async measure(share, deadline, clock, repeats = REPEATS) {
    /** @param {string} name @param {number} count @param {number[]} groups */
    const best = async (name, count, groups) => {
      const end = clock() + share;
      let least = Infinity;
      do {
        const start = clock();
        await this.#run(name, count, groups, deadline - start);
        least = Math.min(least, (clock() - start) / 1000);
      } while (clock() < end);
      return least;
    };
    const call = await best("touch", 1, [1]);
    const step = Math.max(0, (await best("touch", DISPATCHES + 1, [1])) - call) / DISPATCHES;
    /** What the work alone takes. @param {string} name @param {number[]} groups */
    const seconds = async (name, groups) => {
      const whole = await best(name, repeats, groups);
      return Math.max(whole - call, whole / 10) / repeats;
    };
    const read = await seconds("read", [GROUPS]);
    const multiplied = await seconds("multiply", [WIDTH / TILE, ROWS / TILE]);
    return { step_s: step, call_s: call, bytes_per_s: READ_BYTES / read, macs_per_s: (ROWS * WIDTH * WIDTH) / multiplied };
  }

  /** Gives its memory back. */
  close() {
    this.#device.destroy();
  }

  /** @param {string} name @param {number} count @param {number[]} groups @param {number} patience milliseconds */
  async #run(name, count, groups, patience) {
    const { pipeline, group } = this.#kernels[name];
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let at = 0; at < count; at++) pass.dispatchWorkgroups(...groups);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new FeatherweightError("device_lost", "The GPU did not answer in time.")), Math.max(0, patience));
    });
    await Promise.race([this.#device.queue.onSubmittedWorkDone(), late]).finally(() => clearTimeout(timer));
  }
}
