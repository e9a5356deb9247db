/** Owns the sharing of memory between activations: buffers whose steps do not overlap in time may overlap in space. */

const ALIGNMENT = 64;

/**
 * @typedef {object} Lifetime
 * @property {number} bytes
 * @property {number} first step that writes it
 * @property {number} last step that reads it
 */

/**
 * Place buffers, the largest first, each at the lowest offset that is free throughout its life.
 * @param {readonly Lifetime[]} lifetimes
 * @returns {{offsets: number[], bytes: number}}
 */
export function planArena(lifetimes) {
  const offsets = lifetimes.map(() => 0);
  const order = lifetimes.map((_, at) => at).sort((a, b) => lifetimes[b].bytes - lifetimes[a].bytes || a - b);
  /** @type {number[]} */
  const placed = [];
  let total = 0;
  for (const at of order) {
    const { bytes, first, last } = lifetimes[at];
    const size = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    const rivals = placed
      .filter((other) => lifetimes[other].first <= last && lifetimes[other].last >= first)
      .sort((a, b) => offsets[a] - offsets[b]);
    let offset = 0;
    for (const other of rivals) {
      if (offsets[other] - offset >= size) break;
      offset = Math.max(offset, offsets[other] + Math.ceil(lifetimes[other].bytes / ALIGNMENT) * ALIGNMENT);
    }
    offsets[at] = offset;
    placed.push(at);
    total = Math.max(total, offset + size);
  }
  return { offsets, bytes: total };
}

/**
 * When each buffer is written first and read last; joined steps are one moment.
 * @param {readonly import("./lowering/context.js").Step[]} steps
 * @param {readonly number[]} sizes bytes of each buffer
 * @param {readonly number[]} outputs the buffers that are read after the last step
 * @returns {Lifetime[]}
 */
export function lifetimesOf(steps, sizes, outputs) {
  const lifetimes = sizes.map((bytes) => ({ bytes, first: Infinity, last: -1 }));
  let at = -1;
  for (const step of steps) {
    if (!step.joined) at++;
    for (const field of Object.values(step)) {
      if (typeof field === "number" || !("buffer" in field)) continue;
      const lifetime = lifetimes[field.buffer];
      lifetime.first = Math.min(lifetime.first, at);
      lifetime.last = Math.max(lifetime.last, at);
    }
  }
  for (const output of outputs) lifetimes[output].last = at + 1;
  return lifetimes;
}
