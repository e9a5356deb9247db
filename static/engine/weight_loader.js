/** Owns the filling of the weight region: shard after shard, each tensor repacked in slices, one shard held at a time. */

import { FeatherweightError } from "../errors.js";

/**
 * @typedef {import("./kernels.js").Kernels} Kernels
 * @typedef {import("./weight_layout.js").WeightLayout} WeightLayout
 * @typedef {import("./weight_layout.js").Placement} Placement
 */

/** Bytes of a tensor that are repacked at once. */
const SLICE_BYTES = 1 << 20;

/** Reserve scratch for the largest slice and, three times as large, for halves with their floats. @param {Kernels} kernels @param {WeightLayout} layout */
function reserveStaging({ memory }, layout) {
  const slice = Math.max(SLICE_BYTES, ...layout.placements.map(({ initializer, rows }) => initializer.byteLength / rows));
  const address = memory.allocate(3 * slice);
  memory.scratch = { address: address + slice, bytes: 2 * slice };
  return { address, slice };
}

/**
 * @param {Kernels} kernels
 * @param {WeightLayout} layout
 * @param {number} base address of the weights
 * @param {(location: string) => Promise<Uint8Array>} readShard an external-data file by the name that the graph gives it
 * @param {() => void} check throws when loading was aborted
 */
export async function loadWeights(kernels, layout, base, readShard, check) {
  const staging = reserveStaging(kernels, layout);
  for (const { offset, values } of layout.literals) kernels.memory.floats(base + offset, values.length).set(values);
  /** @type {Map<string, Placement[]>} */
  const files = new Map();
  for (const placement of layout.placements) {
    const { external, raw } = placement.initializer;
    if (!external) placeTensor(kernels, placement, base, /** @type {Uint8Array} */ (raw), staging);
    else files.set(external.location, [...(files.get(external.location) ?? []), placement]);
  }
  for (const [location, placements] of files) {
    check();
    const bytes = await readShard(location);
    for (const placement of placements) {
      const { external, byteLength, name } = placement.initializer;
      const start = external?.offset ?? 0;
      if (start + byteLength > bytes.length) throw broken(name, `lies beyond the end of ${location}`);
      placeTensor(kernels, placement, base, bytes.subarray(start, start + byteLength), staging);
    }
  }
}

/**
 * @param {Kernels} kernels
 * @param {Placement} placement
 * @param {number} base
 * @param {Uint8Array} bytes
 * @param {{address: number, slice: number}} staging
 */
function placeTensor(kernels, { initializer, rows, place }, base, bytes, { address, slice }) {
  const rowBytes = bytes.length / rows;
  const step = Math.max(1, Math.floor(slice / rowBytes));
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    kernels.memory.bytes().set(bytes.subarray(first * rowBytes, (first + count) * rowBytes), address);
    if (!place(kernels, base, address, first, count)) throw broken(initializer.name, "holds scales that are not finite");
  }
}

/** @param {string} name @param {string} why */
function broken(name, why) {
  return new FeatherweightError("unsupported", `The tensor ${name} ${why}. Convert the model again.`, { tensor: name });
}
