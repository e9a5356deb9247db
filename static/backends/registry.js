/** Owns the list of backends and the choice among them: a new backend is one row. */

import { FeatherweightError } from "../errors.js";

/**
 * @typedef {import("./backend.js").Backend} Backend
 * @typedef {import("../manifest/manifest.js").Variant} Variant
 */

/**
 * What the choice depends on.
 * @typedef {object} BackendFacts
 * @property {boolean} simd
 * @property {{isFallback: boolean, features: readonly string[], limits: GpuLimits} | null} webgpu null without an adapter
 */

/** In bytes. @typedef {{maxBufferSize: number, maxStorageBufferBindingSize: number}} GpuLimits */

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {(facts: BackendFacts, variant: Variant) => string | null} obstacle why it cannot run here, null if it can
 * @property {(facts: BackendFacts) => boolean} automatic whether "auto" may take it
 * @property {() => Promise<Backend>} open
 */

const HALF_PRECISION = ["fp16", "q4f16"];

/**
 * onnxruntime-web 1.30 on Chromium's software renderer: every operator of a decoder that reads an encoder is right alone;
 * together about every second run ends with "Tensor shape is too large" in the MultiHeadAttention over the encoder's keys.
 */
const UNRELIABLE = "attention over an encoder's states fails now and then on this runtime's GPU kernels";

/** Why a weight has no room on a GPU; null if it has. @param {number} bytes @param {GpuLimits} limits */
function sizeObstacle(bytes, { maxBufferSize, maxStorageBufferBindingSize }) {
  const most = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  if (bytes <= most) return null;
  const limit = most < maxStorageBufferBindingSize ? "buffer (maxBufferSize)" : "binding (maxStorageBufferBindingSize)";
  return `its largest matrix has ${Math.ceil(bytes / 1e6)} MB, and this GPU takes ${Math.floor(most / 1e6)} MB in one ${limit}`;
}

/** In the order in which "auto" tries them. @type {readonly Row[]} */
const ROWS = [
  {
    name: "ort-webgpu",
    obstacle: (facts, variant) => {
      if (!facts.webgpu) return "this browser offers no WebGPU adapter";
      const half = HALF_PRECISION.includes(variant.dtype);
      if (half && !facts.webgpu.features.includes("shader-f16")) return "this GPU has no 16-bit floats (shader-f16)";
      if (variant.encoder) return UNRELIABLE;
      return sizeObstacle(variant.largestTensorBytes, facts.webgpu.limits);
    },
    // A software adapter is right but slower than WebAssembly: only for those who ask for it by name.
    automatic: (facts) => facts.webgpu !== null && !facts.webgpu.isFallback,
    open: async () => (await import("./ort.js")).ortWebgpu,
  },
  {
    name: "wasm",
    obstacle: (facts) => (facts.simd ? null : "this browser has no WebAssembly SIMD"),
    automatic: () => true,
    open: async () => (await import("./wasm.js")).wasm,
  },
  {
    name: "ort-wasm",
    obstacle: (facts) => (facts.simd ? null : "this browser has no WebAssembly SIMD"),
    automatic: () => true,
    open: async () => (await import("./ort.js")).ortWasm,
  },
];

/**
 * The backends to try, the best first; for a backend asked for by name there is only that one.
 * @param {string} name
 * @param {BackendFacts} facts
 * @param {Variant} variant
 * @param {readonly Row[]} [rows]
 * @returns {{name: string, open: () => Promise<Backend>}[]} at least one
 * @throws {FeatherweightError} unsupported
 */
export function chooseBackends(name, facts, variant, rows = ROWS) {
  const asked = name === "auto" ? rows : rows.filter((row) => row.name === name);
  if (asked.length === 0) {
    const names = ["auto", ...rows.map((row) => row.name)];
    throw new FeatherweightError("unsupported", `There is no backend "${name}". Available: ${names.join(", ")}.`, {
      backend: name,
      available: names,
    });
  }
  const obstacles = asked.map((row) => row.obstacle(facts, variant));
  const able = asked.filter((row, at) => obstacles[at] === null && (name !== "auto" || row.automatic(facts)));
  if (able.length > 0) return able.map(({ name, open }) => ({ name, open }));
  const why = asked.map((row, at) => `${row.name}: ${obstacles[at] ?? "not taken by itself"}`).join("; ");
  throw new FeatherweightError("unsupported", `The variant ${variant.dtype} cannot run here (${why}).`, {
    backend: name,
    dtype: variant.dtype,
  });
}

/**
 * Why a backend cannot run a variant here; null if it can.
 * @param {string} name
 * @param {BackendFacts} facts
 * @param {Variant} variant
 */
export function obstacleTo(name, facts, variant) {
  return ROWS.find((row) => row.name === name)?.obstacle(facts, variant) ?? null;
}
