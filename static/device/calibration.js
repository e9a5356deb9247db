/** Owns what published measurements say about errors: written by `python -m benchmarks weigh-in --calibrate`. */

/**
 * |log(measured / predicted)| of runs that were measured before this version was published.
 * @type {Readonly<Record<import("./prediction.js").Metric, readonly number[]>>}
 */
export const PUBLISHED_SCORES = Object.freeze({
  load_s: [0.003, 0.003, 0.01, 0.019, 0.032, 0.043, 0.052, 0.056, 0.103, 0.115, 0.124, 0.125, 0.126, 0.139, 0.158, 0.189, 0.318],
  time_to_first_token_s: [0.021, 0.033, 0.041, 0.044, 0.045, 0.05, 0.074, 0.076, 0.087, 0.096, 0.097, 0.097, 0.137, 0.138, 0.184, 0.22, 0.229],
  prefill_tokens_per_s: [0.021, 0.033, 0.041, 0.044, 0.045, 0.051, 0.074, 0.076, 0.087, 0.096, 0.097, 0.101, 0.137, 0.139, 0.184, 0.22, 0.23],
  decode_tokens_per_s: [0.003, 0.004, 0.027, 0.056, 0.07, 0.07, 0.088, 0.089, 0.089, 0.104, 0.157],
  peak_memory_bytes: [0.017, 0.02, 0.03, 0.031, 0.032, 0.034, 0.035, 0.049, 0.05, 0.052, 0.081, 0.082, 0.093, 0.094, 0.095, 0.128, 0.13],
});
