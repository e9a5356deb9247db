/** Owns how what is longer than a model reads becomes parts: they overlap by half, so that each token has its context. Pure. */

/**
 * `from` and `to` bound what is this part's own: the parts' own ranges lie side by side, parted in the middle of overlaps.
 * @typedef {{offset: number, count: number, from: number, to: number}} Part
 */

/**
 * @param {number} total tokens
 * @param {number} room tokens of a part, at least 2
 * @returns {Part[]} in their order; one when everything has room
 */
export function overlappingParts(total, room) {
  /** @type {Part[]} */
  const parts = [];
  for (let offset = 0, end = 0; end < total || parts.length === 0; offset += Math.floor(room / 2)) {
    const before = parts.at(-1);
    const from = before ? (offset + end) >> 1 : 0;
    if (before) before.to = from;
    const count = Math.min(room, total - offset);
    end = offset + count;
    parts.push({ offset, count, from, to: end });
  }
  return parts;
}
