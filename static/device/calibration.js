/** Owns what published measurements say about errors: written by `python -m benchmarks weigh-in --calibrate`. */

/**
 * |log(measured / predicted)| of runs that were measured before this version was published.
 * @type {Readonly<Record<import("./prediction.js").Metric, readonly number[]>>}
 */
export const PUBLISHED_SCORES = Object.freeze({
  load_s: [0.003, 0.01, 0.019, 0.032, 0.043, 0.052],
  time_to_first_token_s: [0.021, 0.044, 0.096, 0.097, 0.184, 0.229],
  prefill_tokens_per_s: [0.021, 0.044, 0.096, 0.097, 0.184, 0.23],
  decode_tokens_per_s: [0.004, 0.07, 0.088, 0.089],
  peak_memory_bytes: [0.031, 0.032, 0.049, 0.05, 0.128, 0.13],
});
