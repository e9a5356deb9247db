/** Holds every WebAssembly build of the products with packed weights to plain JavaScript. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { instantiateKernels } from "../../../static/engine/kernels.js";
import { AFFINE } from "../../../static/engine/plan_format.js";
import { BUILDS, compileKernels, kernelsMissing } from "../engine/node_engine.mjs";

const FORMATS = [
  { bits: 4, affine: AFFINE.SYMMETRIC },
  { bits: 4, affine: AFFINE.OFFSETS },
  { bits: 4, affine: AFFINE.ZERO_POINTS },
  { bits: 8, affine: AFFINE.SYMMETRIC },
  { bits: 8, affine: AFFINE.ZERO_POINTS },
];
const SHAPES = [
  [1, 32, 8],
  [1, 40, 9],
  [1, 576, 333],
  [5, 100, 37],
  [33, 64, 24],
];

/** Numbers in 0..1 from a seed. @param {number} seed */
function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    return (state >>> 8) / 16777216;
  };
}

/** A float16 of moderate size from a random number. @param {number} x */
function half(x) {
  const exponent = 6 + Math.floor(x * 5); // 2^-9 .. 2^-5
  return (exponent << 10) | Math.floor(x * 1e6) % 1024;
}

/** @param {number} bits */
const halfValue = (bits) => (1 + (bits & 1023) / 1024) * 2 ** ((bits >> 10) - 15);

/** The product as plain loops, with activations rounded as the kernels round them. */
function plainProduct({ bits, affine }, [rows, inner, columns], { x, codes, scales, offsets, points }) {
  const blocks = Math.ceil(inner / 32);
  const levels = bits === 4 ? 32639 : 32767;
  const y = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let b = 0; b < blocks; b++) {
      const part = x.subarray(r * inner + 32 * b, r * inner + Math.min(inner, 32 * b + 32));
      const largest = part.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
      const rounded = Array.from(part, (value) => {
        const exact = Math.fround(value * Math.fround(levels / largest));
        return Math.fround(Math.fround(exact + 12582912) - 12582912);
      });
      for (let n = 0; n < columns; n++) {
        const block = n * blocks + b;
        const scale = halfValue(scales[block]);
        const zero = affine === AFFINE.ZERO_POINTS ? points[block] : 2 ** (bits - 1);
        const offset = affine === AFFINE.OFFSETS ? halfValue(offsets[block]) : -scale * zero;
        rounded.forEach((value, k) => {
          const code = bits === 8 ? codes[block * 32 + k] : (codes[block * 16 + (k >> 1)] >> (4 * (k & 1))) & 15;
          y[r * columns + n] += (largest / levels) * value * (scale * code + offset);
        });
      }
    }
  }
  return y;
}

/** Numbers of 4 bits, two to a byte and whole bytes to a row. */
function packNibbles(points, columns, blocks) {
  const bytes = Math.ceil(blocks / 2);
  const stored = new Uint8Array(columns * bytes);
  points.forEach((point, at) => (stored[Math.floor(at / blocks) * bytes + ((at % blocks) >> 1)] |= point << (4 * (at % blocks & 1))));
  return stored;
}

/** The product by a build's kernels. */
function kernelProduct(kernels, { bits, affine }, [rows, inner, columns], { x, codes, scales, offsets, points }) {
  const { memory } = kernels;
  const blocks = Math.ceil(inner / 32);
  const groups = Math.ceil(columns / 8);
  const place = (array) => {
    const address = memory.allocate(array.byteLength);
    memory.bytes().set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), address);
    return address;
  };
  const packed = memory.allocate(groups * blocks * kernels.fw_packed_block_bytes(bits, affine));
  kernels.fw_repack_codes(place(codes), blocks, columns, 0, packed, blocks, bits, affine);
  kernels.fw_repack_scales(place(scales), blocks, 1, columns, 0, packed, blocks, bits, affine, 0);
  if (affine === AFFINE.ZERO_POINTS) {
    const stored = bits === 8 ? points : packNibbles(points, columns, blocks);
    kernels.fw_repack_zero_points(place(stored), blocks, 1, columns, 0, packed, blocks, bits);
  }
  if (affine === AFFINE.OFFSETS) kernels.fw_repack_scales(place(offsets), blocks, 1, columns, 0, packed, blocks, bits, affine, 1);
  const activations = memory.allocate(rows * blocks * kernels.fw_activation_block_bytes());
  kernels.fw_quantize_rows(place(x), inner, activations, rows, inner, bits, 0, rows);
  const y = memory.allocate(4 * rows * columns);
  const rest = [activations, rows, blocks, 0, groups, columns, 0, y, columns];
  if (bits === 4) kernels.fw_matmul_q4(packed, affine, ...rest);
  else kernels.fw_matmul_q8(packed, affine, ...rest);
  return memory.floats(y, rows * columns).slice();
}

for (const { file, shared } of BUILDS) {
  for (const format of FORMATS) {
    test(`${file} matches plain loops at ${format.bits} bits${["", ", with offsets", ", with zero points"][format.affine]}`, { skip: kernelsMissing }, async () => {
      const kernels = await instantiateKernels(await compileKernels(file), shared);
      for (const shape of SHAPES) {
        const [rows, inner, columns] = shape;
        const next = random(7);
        const blocks = columns * Math.ceil(inner / 32);
        const data = {
          x: Float32Array.from({ length: rows * inner }, () => 4 * next() - 2),
          codes: Uint8Array.from({ length: blocks * 4 * format.bits }, () => 256 * next()),
          scales: Uint16Array.from({ length: blocks }, () => half(next())),
          offsets: Uint16Array.from({ length: blocks }, () => half(next())),
          points: Uint8Array.from({ length: blocks }, () => 2 ** format.bits * next()),
        };
        const expected = plainProduct(format, shape, data);
        const found = kernelProduct(kernels, format, shape, data);
        const size = Math.max(...expected.map(Math.abs));
        const allowed = (rows === 1 ? 1e-5 : 3e-4) * size;
        expected.forEach((value, at) => assert.ok(Math.abs(value - found[at]) < allowed, `[${shape}] at ${at}: ${found[at]}, not ${value}`));
      }
    });
  }
}

for (const { file, shared } of BUILDS) {
  test(`${file} multiplies floats as 16-bit codes, within 1e-4`, { skip: kernelsMissing }, async () => {
    const kernels = await instantiateKernels(await compileKernels(file), shared);
    for (const [rows, inner, columns] of SHAPES) {
      const next = random(11);
      const x = Float32Array.from({ length: rows * inner }, () => 4 * next() - 2);
      const weight = Float32Array.from({ length: columns * inner }, () => 4 * next() - 2);
      const { memory } = kernels;
      const blocks = Math.ceil(inner / 32);
      const groups = Math.ceil(columns / 8);
      const packed = memory.allocate(groups * blocks * kernels.fw_packed_block_bytes(16, 0));
      const [xAt, weightAt] = [x, weight].map((values) => {
        const address = memory.allocate(values.byteLength);
        memory.floats(address, values.length).set(values);
        return address;
      });
      assert.equal(kernels.fw_repack_floats(weightAt, inner, 1, columns, 0, inner, 0, packed, blocks), 1);
      const activations = memory.allocate(rows * blocks * kernels.fw_activation_block_bytes());
      kernels.fw_quantize_rows(xAt, inner, activations, rows, inner, 16, 0, rows);
      const y = memory.allocate(4 * rows * columns);
      kernels.fw_matmul_q16(packed, activations, rows, blocks, 0, groups, columns, 0, y, columns);
      const found = memory.floats(y, rows * columns);
      for (let r = 0; r < rows; r++) {
        for (let n = 0; n < columns; n++) {
          let exact = 0;
          for (let k = 0; k < inner; k++) exact += x[r * inner + k] * weight[n * inner + k];
          assert.ok(Math.abs(found[r * columns + n] - exact) < 1e-4 * 1.4 * inner, `[${rows}, ${inner}, ${columns}] at ${r}, ${n}`);
        }
      }
    }
  });
}
