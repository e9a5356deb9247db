/** Owns the measuring of single kernels on all threads, with weights that no cache holds. */

import { instantiateKernels, kernelFile } from "/static/engine/kernels.js";

const STACK_BYTES = 65536;
const COLUMN_GROUP = 8;
const BLOCK = 32;
const PAGE_TOKENS = 256;

/**
 * One kernel over a working set, as every thread gets it.
 * @typedef {object} Job
 * @property {string} kernel export to call
 * @property {{args: (number | string)[], thread?: number}[]} calls for all threads, each with its share of `units` from
 *   "$begin" to "$end", or for one
 * @property {number} units
 */

/** @type {{kernels: import("/static/engine/kernels.js").Kernels, workers: Worker[], control: Int32Array, top: number}} */
let lab;

/** Starts the threads. */
export async function load({ threads }) {
  const response = await fetch(`/static/wasm/${kernelFile(true)}`);
  const module = await WebAssembly.compile(await response.arrayBuffer());
  const kernels = await instantiateKernels(module, true);
  const control = new Int32Array(new SharedArrayBuffer(64));
  const workers = await Promise.all(
    Array.from({ length: threads }, async (_, thread) => {
      const worker = new Worker(new URL("kernel_worker.js", import.meta.url), { type: "module" });
      const stackTop = kernels.memory.allocate(STACK_BYTES) + STACK_BYTES;
      await ask(worker, { module, memory: kernels.memory.memory, stackTop, control, thread, threads });
      return worker;
    }),
  );
  lab = { kernels, workers, control, top: kernels.memory.top };
  await bandwidth({ bytes: 1 << 26, passes: 50 }); // a fresh thread may share a core for some time
  return { build: kernelFile(true) };
}

/** Reads of `bytes` by all threads: GB/s. */
export async function bandwidth({ bytes, passes }) {
  const { memory } = begin();
  const data = memory.allocate(bytes);
  memory.bytes().fill(1, data, data + bytes);
  const { job, read } = plainRead(data, data + bytes);
  const [times] = await run([job], passes);
  return { gb_per_s: perSecond(read, times) / 1e9 };
}

/**
 * The plain loop over the bytes from `start` to `end`, an equal part for each thread.
 * @returns {{job: Job, read: number}} and how many bytes it reads
 */
function plainRead(start, end) {
  const words = Math.floor((end - start) / 4 / lab.workers.length / 16) * 16;
  const calls = lab.workers.map((_, thread) => ({ thread, args: [start + thread * words * 4, words] }));
  return { job: { kernel: "fw_read_sum", calls, units: 0 }, read: words * 4 * lab.workers.length };
}

/** y [rows][columns] = x w^T: GB/s of weights, also as a share of the plain loop's over the same bytes, and GMAC/s. `bits` is 4, 8 or, for float weights, 16. */
export async function matmul({ bits, affine = 0, rows, inner, columns, bytes, passes }) {
  const kernels = begin();
  const { memory } = kernels;
  const blocks = Math.ceil(inner / BLOCK);
  const groups = Math.ceil(columns / COLUMN_GROUP);
  const one = groups * blocks * kernels.fw_packed_block_bytes(bits, affine);
  const copies = Math.max(1, Math.floor(bytes / one));
  const x = filled(memory, rows * inner);
  const y = memory.allocate(rows * columns * 4);
  const weights = memory.allocate(one * copies);
  memory.bytes().fill(0, weights, weights + one);
  if (bits === 16) kernels.fw_repack_floats(filled(memory, columns * inner), inner, 1, columns, 0, inner, 0, weights, blocks);
  else pack(kernels, { bits, affine, blocks, columns }, weights);
  for (let copy = 1; copy < copies; copy++) memory.bytes().copyWithin(weights + copy * one, weights, weights + one);
  const activations = memory.allocate(rows * blocks * kernels.fw_activation_block_bytes());
  kernels.fw_quantize_rows(x, inner, activations, rows, inner, bits, 0, rows);
  const form = bits === 16 ? [] : [affine];
  const calls = Array.from({ length: copies }, (_, copy) => ({
    args: [weights + copy * one, ...form, activations, rows, blocks, "$begin", "$end", columns, 0, y, columns],
  }));
  const macs = rows * inner * columns * copies;
  return besideRead({ kernel: `fw_matmul_q${bits}`, calls, units: groups }, [weights, weights + one * copies], macs, passes);
}

/** Causal attention of `rows` queries over `keys` slots of a cache (`type`: FW_KV_*): GB/s of cache, as matmul, and GMAC/s. */
export async function attention({ rows, heads, kvHeads, width, keys, type, bytes, passes }) {
  const kernels = begin();
  const { memory } = kernels;
  const pages = Math.ceil(keys / PAGE_TOKENS);
  const pageBytes = kvHeads * kernels.fw_kv_head_bytes(width, type);
  const caches = Math.max(1, Math.floor(bytes / (pages * pageBytes)));
  const stride = heads * width;
  const q = filled(memory, rows * stride);
  const y = memory.allocate(rows * stride * 4);
  const shape = memory.allocate(44); // fw_attention
  memory.words(shape, 6).set([rows, heads / kvHeads, 0, keys, 1, 0]);
  memory.floats(shape + 24, 2).set([1 / Math.sqrt(width), 0]);
  memory.words(shape + 32, 3).fill(0); // no bias
  const first = memory.allocate(caches * pages * pageBytes);
  const calls = Array.from({ length: caches }).flatMap((_, index) => {
    const data = first + index * pages * pageBytes;
    const table = memory.allocate(pages * 4);
    const cache = memory.allocate(16); // fw_kv_cache
    memory.words(table, pages).set(Array.from({ length: pages }, (_, page) => data + page * pageBytes));
    memory.words(cache, 4).set([table, 0, width, type]);
    return Array.from({ length: kvHeads }, (_, head) => ({ thread: 0, args: [cache, shape, head, q, stride, y, stride, 0, 0] }));
  });
  // The threads share the KV heads.
  for (const [index, call] of calls.entries()) call.thread = index % lab.workers.length;
  const macs = caches * rows * heads * keys * 2 * width;
  return besideRead({ kernel: "fw_attend", calls, units: 0 }, [first, first + caches * pages * pageBytes], macs, passes);
}

/**
 * A job and the plain loop over the bytes that it reads, in turns: what other users of the memory take, they take of both.
 * @param {Job} job @param {[number, number]} bytes from, to
 */
async function besideRead(job, [start, end], macs, passes) {
  const plain = plainRead(start, end);
  const [times, reads] = await run([job, plain.job], passes);
  const rate = perSecond(end - start, times);
  return { gb_per_s: rate / 1e9, of_read: rate / perSecond(plain.read, reads), gmac_per_s: perSecond(macs, times) / 1e9 };
}

/** Forget what the last job placed. */
function begin() {
  lab.kernels.memory.top = lab.top;
  return lab.kernels;
}

/** Random floats in -1..1. */
function filled(memory, count) {
  const address = memory.allocate(count * 4);
  const values = memory.floats(address, count);
  for (let i = 0; i < count; i++) values[i] = Math.sin(i * 12.9898) % 1;
  return address;
}

/** Random codes with a scale of 0.0156 in every block. */
function pack(kernels, { bits, affine, blocks, columns }, packed) {
  const { memory } = kernels;
  const codes = memory.allocate(columns * blocks * 4 * bits);
  const scales = memory.allocate(columns * blocks * 2);
  const bytes = memory.bytes();
  for (let i = 0; i < columns * blocks * 4 * bits; i++) bytes[codes + i] = Math.imul(i, 2654435761) >>> 13;
  new Uint16Array(memory.memory.buffer, scales, columns * blocks).fill(0x2400);
  kernels.fw_repack_codes(codes, blocks, columns, 0, packed, blocks, bits, affine);
  for (let offset = 0; offset <= affine; offset++) {
    kernels.fw_repack_scales(scales, blocks, 1, columns, 0, packed, blocks, bits, affine, offset);
  }
}

/**
 * All jobs in turns, `passes` times.
 * @param {Job[]} jobs @param {number} passes
 * @returns {Promise<number[][]>} by job: milliseconds of each pass, from the first thread's start to the last one's end
 */
async function run(jobs, passes) {
  lab.control.fill(0);
  const marks = await Promise.all(lab.workers.map((worker) => ask(worker, { jobs, passes })));
  return jobs.map((_, job) =>
    Array.from({ length: passes }, (_, pass) => {
      const starts = marks.map((rows) => rows[pass][job][0]);
      const ends = marks.map((rows) => rows[pass][job][1]);
      return Math.max(...ends) - Math.min(...starts);
    }),
  );
}

/** Of the median pass. */
function perSecond(amount, times) {
  const sorted = times.toSorted((left, right) => left - right);
  return (1000 * amount) / sorted[sorted.length >> 1];
}

function ask(worker, message) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => ("error" in data ? reject(new Error(data.error)) : resolve(data.marks));
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(message);
  });
}
