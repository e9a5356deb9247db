/** Owns what published measurements say about errors: written by `python -m benchmarks weigh-in --calibrate`. */

/**
 * |log(measured / predicted)| of runs that were measured before this version was published.
 * @type {Readonly<Record<import("./prediction.js").Metric, readonly number[]>>}
 */
export const PUBLISHED_SCORES = Object.freeze({
  load_s: [0.7],
  time_to_first_token_s: [0.3],
  prefill_tokens_per_s: [0.3],
  decode_tokens_per_s: [0.2],
  peak_memory_bytes: [0.1],
});
