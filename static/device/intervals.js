/** Owns the width of predictions: intervals that hold a stated share of measurements, by split conformal prediction. */

/** The share of measurements that an interval is to hold. */
export const COVERAGE = 0.9;

/**
 * Half-width of the interval, as a factor: the measurement lies between expected / factor and expected * factor.
 *
 * Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018) on the score |log(measured / predicted)|: of n
 * scores the ceil((n + 1) * coverage)-th smallest bounds the next one with at least that probability, if all come from
 * devices and models alike. With too few scores for that rank the largest is doubled.
 * @param {readonly number[]} scores absolute logarithms, in any order
 * @param {number} [coverage]
 * @returns {number} at least 1
 */
export function conformalFactor(scores, coverage = COVERAGE) {
  if (scores.length === 0) return Infinity;
  const sorted = [...scores].sort((a, b) => a - b);
  const rank = Math.ceil((sorted.length + 1) * coverage);
  const score = rank <= sorted.length ? sorted[rank - 1] : 2 * sorted[sorted.length - 1];
  return Math.exp(score);
}

/**
 * @param {number} expected
 * @param {number} factor
 * @returns {[number, number]}
 */
export function interval(expected, factor) {
  return [expected / factor, expected * factor];
}

/**
 * The score of one finished run.
 * @param {number} predicted
 * @param {number} measured
 */
export function score(predicted, measured) {
  return Math.abs(Math.log(measured / predicted));
}
