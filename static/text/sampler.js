/** Owns the choice of the next token from a model's logits: pure functions, the randomness passed in. */

import { FeatherweightError } from "../errors.js";

/**
 * The filters work in this order on the probabilities after temperature: top-k, then top-p, then min-p.
 * @typedef {object} SamplingOptions
 * @property {number} [temperature] 0 (default) takes the most likely token, the first of equals
 * @property {number} [topK] keep the k most likely; 0 keeps all (default)
 * @property {number} [topP] keep the fewest most likely that together reach this probability; 1 keeps all (default)
 * @property {number} [minP] keep those at least this fraction as likely as the most likely one; 0 keeps all (default)
 */

/**
 * A reproducible source of numbers in [0, 1): Mulberry32 (Tommy Ettinger, public domain), 32 bits of state.
 * @param {number} seed an integer; its lowest 32 bits are the first state
 * @returns {() => number} multiples of 2^-32
 */
export function randomSource(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/**
 * @param {Float32Array} logits
 * @returns {number} the index of the largest, the first of equals
 * @throws {FeatherweightError} unsupported, where the logits are not numbers
 */
export function argmax(logits) {
  let best = 0;
  let value = -Infinity;
  let sum = 0;
  for (let index = 0; index < logits.length; index += 1) {
    const logit = logits[index];
    sum += logit;
    if (logit > value) {
      value = logit;
      best = index;
    }
  }
  // A NaN anywhere reaches the sum; -Infinity (a masked token) alone does not make one.
  if (Number.isNaN(sum) || !Number.isFinite(value)) {
    throw new FeatherweightError(
      "unsupported",
      "The model's output is not a number: this variant does not compute correctly on this device. Try another one.",
    );
  }
  return best;
}

/**
 * @param {Float32Array} logits not changed
 * @param {SamplingOptions} options
 * @param {() => number} random numbers in [0, 1); asked once, and not at all when temperature is 0
 * @returns {number} a token id
 */
export function sample(logits, { temperature = 0, topK = 0, topP = 1, minP = 0 }, random) {
  const best = argmax(logits);
  if (temperature === 0 || topK === 1) return best;
  const top = logits[best];
  /** @type {Uint32Array} */
  let ids = topK > 0 && topK < logits.length ? largest(logits, topK) : everyIndex(logits.length);
  // Weights are probabilities relative to the most likely token's, which weighs 1.
  /** @type {Float64Array} */
  let weights = new Float64Array(ids.length);
  for (let at = 0; at < ids.length; at += 1) weights[at] = Math.exp((logits[ids[at]] - top) / temperature);
  if (topP < 1) [ids, weights] = pick(ids, weights, nucleus(ids, weights, topP));
  if (minP > 0) [ids, weights] = pick(ids, weights, places(weights, minP));
  return draw(ids, weights, random());
}

/**
 * Makes tokens that were there before less likely (CTRL, Keskar et al. 2019), in place.
 * @param {Float32Array} logits
 * @param {ReadonlySet<number>} ids the tokens so far
 * @param {number} penalty above 1 discourages; 1 changes nothing
 */
export function penalizeRepetition(logits, ids, penalty) {
  if (penalty === 1) return;
  for (const id of ids) logits[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
}

/** @param {number} length */
function everyIndex(length) {
  const ids = new Uint32Array(length);
  for (let index = 0; index < length; index += 1) ids[index] = index;
  return ids;
}

/**
 * Where the weights are at least `bound`.
 * @param {Float64Array} weights
 * @param {number} bound
 */
function places(weights, bound) {
  /** @type {number[]} */
  const found = [];
  for (let at = 0; at < weights.length; at += 1) if (weights[at] >= bound) found.push(at);
  return found;
}

/**
 * @param {Uint32Array} ids
 * @param {Float64Array} weights
 * @param {number[]} at places in both
 * @returns {[Uint32Array, Float64Array]}
 */
function pick(ids, weights, at) {
  const picked = new Uint32Array(at.length);
  const pickedWeights = new Float64Array(at.length);
  for (let index = 0; index < at.length; index += 1) {
    picked[index] = ids[at[index]];
    pickedWeights[index] = weights[at[index]];
  }
  return [picked, pickedWeights];
}

/**
 * Indices of the k largest values, by value, then index: a bounded min-heap, so n comparisons and few moves.
 * @param {Float32Array} values
 * @param {number} k
 */
function largest(values, k) {
  /** Whether a is kept rather than b. @param {number} a @param {number} b */
  const better = (a, b) => values[a] > values[b] || (values[a] === values[b] && a < b);
  const heap = everyIndex(k);
  /** @param {number} at */
  const sink = (at) => {
    for (;;) {
      let worst = at;
      for (const child of [2 * at + 1, 2 * at + 2]) if (child < k && better(heap[worst], heap[child])) worst = child;
      if (worst === at) return;
      [heap[at], heap[worst]] = [heap[worst], heap[at]];
      at = worst;
    }
  };
  for (let at = (k >> 1) - 1; at >= 0; at -= 1) sink(at);
  for (let index = k; index < values.length; index += 1) {
    if (values[index] > values[heap[0]]) {
      heap[0] = index;
      sink(0);
    }
  }
  return heap.sort((a, b) => (better(a, b) ? -1 : 1));
}

/**
 * The smallest set of most likely tokens whose weights reach `topP` of all. All tokens lighter than (1 - topP) * total / n
 * weigh less than (1 - topP) * total together, so none of them is needed, and only the rest is sorted.
 * @param {Uint32Array} ids
 * @param {Float64Array} weights
 * @param {number} topP
 * @returns {number[]} places in both, the most likely first
 */
function nucleus(ids, weights, topP) {
  const total = sumOf(weights);
  const candidates = places(weights, ((1 - topP) * total) / ids.length);
  candidates.sort((a, b) => weights[b] - weights[a] || ids[a] - ids[b]);
  let sum = 0;
  let count = 0;
  while (count < candidates.length && sum < topP * total) sum += weights[candidates[count++]];
  return candidates.slice(0, Math.max(count, 1));
}

/**
 * @param {Uint32Array} ids
 * @param {Float64Array} weights
 * @param {number} point in [0, 1)
 */
function draw(ids, weights, point) {
  let rest = point * sumOf(weights);
  let last = 0;
  for (let at = 0; at < ids.length; at += 1) {
    if (weights[at] > 0) last = at;
    rest -= weights[at];
    if (rest < 0) break;
  }
  return ids[last];
}

/** @param {Float64Array} weights */
function sumOf(weights) {
  let sum = 0;
  for (let at = 0; at < weights.length; at += 1) sum += weights[at];
  return sum;
}
