/** Owns the greedy choice for runtimes that give logits. */

/** @param {Float32Array} logits @param {number} [start] where the last position's begin */
export function argmax(logits, start = 0) {
  let best = start;
  for (let i = start + 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best - start;
}
