/** Owns the arithmetic of speed and memory: seconds and bytes of a run from a model's cost and a device's measured rates. */

import { DECODER_ROWS, ENCODER_ROWS, PAGE_TOKENS } from "../engine/plan_format.js";

/**
 * @typedef {import("../manifest/manifest.js").Cost} Cost
 * @typedef {import("./rates.js").Rates} Rates
 * @typedef {import("./rates.js").ThreadRates} ThreadRates
 */

const MIB = 2 ** 20;

/** What a tab takes without a model: the page, its worker, compiled kernels, chunks on their way. */
export const RUNTIME_BYTES = 64 * MIB;
/** What the engine takes beside weights, cache and activations: rows on their way, tables, stacks. */
const ENGINE_BYTES = MIB;
/** Multiply-adds of the probe's attention for each byte of its cache: four queries for each key and value of 2 bytes. */
const TIMED_MACS_PER_BYTE = 2;
/** Operator classes whose weights are read once for all rows of a run; the others work row by row. */
const LINEAR = /^linear_/;
/** Those that are done for one row of a run, however many there are. */
const HEAD = /^head_/;
/** Those over the tokens that a row sees, all of them or the last so many. */
const ATTENTION = /^attention(?:_window_(\d+))?$/;
/** That over the text which a row of an answer sees whole. */
const CROSS_ATTENTION = "cross_attention";

/**
 * Seconds of one run of `rows` tokens after `past` others: every operator class takes its multiply-adds at the rate that
 * was measured for it (one row: bound by memory; many: by arithmetic), every step its overhead.
 * @param {Cost} cost
 * @param {ThreadRates} rates
 * @param {number} rows
 * @param {number} past tokens in the KV cache
 * @param {number} [text] tokens of the text that an encoder-decoder answers
 * @returns {number}
 */
export function runSeconds({ perToken, steps }, rates, rows, past, text = 0) {
  let seconds = steps * rates.step_s;
  for (const [name, { bytes, macs }] of Object.entries(perToken)) {
    const attention = ATTENTION.exec(name);
    if (LINEAR.test(name) || HEAD.test(name)) {
      const rate = rates.linear[name.replace(HEAD, "linear_")] ?? rates.linear.linear_float;
      const one = bytes / rate.bytes_per_s;
      seconds += HEAD.test(name) ? one : Math.max(one, (macs * rows) / rate.macs_per_s);
    } else if (attention) {
      const window = Number(attention[1] ?? Infinity);
      seconds += attentionSeconds(bytes * Math.min(window, past + rows), macs * tokensSeen(rows, past, window), rates.attention);
    } else if (name === CROSS_ATTENTION) {
      seconds += text * attentionSeconds(bytes, macs * rows, rates.attention);
    } else {
      seconds += (bytes * rows) / rates.elementwise_bytes_per_s;
    }
  }
  return seconds;
}

/**
 * Bytes were timed with the multiply-adds of four queries, which is about what they take with fewer; those of others are
 * extra.
 * @param {number} bytes
 * @param {number} macs
 * @param {{bytes_per_s: number, macs_per_s: number}} rate
 */
function attentionSeconds(bytes, macs, rate) {
  return bytes / rate.bytes_per_s + Math.max(0, macs - TIMED_MACS_PER_BYTE * bytes) / rate.macs_per_s;
}

/** Tokens that the rows of a causal run see together: row r has past + r + 1 before it, itself included. @param {number} rows @param {number} past @param {number} window */
function tokensSeen(rows, past, window) {
  const growing = Math.max(0, Math.min(rows, window - past));
  const beyond = rows - growing;
  return growing * past + (growing * (growing + 1)) / 2 + (beyond && beyond * Math.min(window, past + rows));
}

/**
 * Seconds until the first token of an answer: the prompt in runs of DECODER_ROWS, then one choice among the vocabulary.
 * @param {Cost} cost
 * @param {ThreadRates} rates
 * @param {{promptTokens: number, past?: number, vocabSize: number}} prompt
 */
export function firstTokenSeconds(cost, rates, { promptTokens, past = 0, vocabSize }) {
  let seconds = vocabSize * rates.logit_s;
  for (let done = 0; done < promptTokens; done += DECODER_ROWS) {
    seconds += runSeconds(cost, rates, Math.min(DECODER_ROWS, promptTokens - done), past + done);
  }
  return seconds;
}

/**
 * Seconds of one token of an answer.
 * @param {Cost} cost
 * @param {ThreadRates} rates
 * @param {{past: number, text?: number, vocabSize: number}} at
 */
export function decodeSeconds(cost, rates, { past, text = 0, vocabSize }) {
  return runSeconds(cost, rates, 1, past, text) + vocabSize * rates.logit_s + rates.call_s;
}

/**
 * Seconds that an encoder takes for texts of one length.
 * @param {Cost} cost
 * @param {ThreadRates} rates
 * @param {{texts: number, tokens: number}} batch
 */
export function encodeSeconds(cost, rates, { texts, tokens }) {
  const together = Math.max(1, Math.min(texts, Math.floor(ENCODER_ROWS / tokens)));
  const { attention, ...others } = cost.perToken;
  let seconds = rates.call_s;
  for (let done = 0; done < texts; done += together) {
    const count = Math.min(together, texts - done);
    seconds += runSeconds({ ...cost, perToken: others }, rates, count * tokens, 0);
    if (attention) seconds += (attention.macs * count * tokens * tokens) / rates.attention.macs_per_s;
  }
  return seconds;
}

/** Bytes of a weight in the files of a variant with float weights, which the engine packs as 16-bit codes. */
const FLOAT_BYTES = Object.freeze({ fp32: 4, fp16: 2 });

/**
 * What a model is weighed with: a decoder's cache holds the context, an encoder-decoder's a text and its answer.
 * @param {{kvCache: object | null}} model
 * @param {{encoder: object | null}} variant
 * @param {number} contextLength
 * @returns {{cacheTokens: number, rows: number}} rows of the largest run
 */
export function roomFor({ kvCache }, { encoder }, contextLength) {
  if (encoder) return { cacheTokens: 2 * contextLength, rows: contextLength };
  return kvCache ? { cacheTokens: contextLength, rows: DECODER_ROWS } : { cacheTokens: 0, rows: ENCODER_ROWS };
}

/**
 * Bytes at the peak of our own engine: the packed weights once, a full KV cache, the activations of the largest run.
 * @param {{dtype: string, weightBytes: number, cost: Cost, encoder?: {cost: Cost} | null}} variant
 * @param {{cacheTokens: number, rows: number}} room
 */
export function engineBytes({ dtype, weightBytes, cost, encoder }, { cacheTokens, rows }) {
  const pages = Math.ceil(cacheTokens / PAGE_TOKENS);
  let weights = weightBytes;
  for (const [name, { bytes, macs }] of [cost, ...(encoder ? [encoder.cost] : [])].flatMap(({ perToken }) => Object.entries(perToken))) {
    if (name === "linear_float") weights += bytes - macs * (FLOAT_BYTES[/** @type {"fp32" | "fp16"} */ (dtype)] ?? FLOAT_BYTES.fp32);
  }
  return ENGINE_BYTES + weights + cost.kvBytesPerToken * pages * PAGE_TOKENS + cost.activationBytesPerToken * rows;
}

/** While onnxruntime-web loads a model, its weights exist twice: as downloaded, and repacked for its kernels. */
const ORT_WEIGHT_COPIES = 2;
/** Its KV cache is the input of the next run: both exist at once, inside the runtime and outside. */
const ORT_CACHE_COPIES = 3;
/** The graph's KV cache holds float32, our own about half of that. */
const ORT_CACHE_WIDTH = 2;

/**
 * The same for onnxruntime-web.
 * @param {{weightBytes: number, cost: Cost}} variant
 * @param {number} cacheTokens
 */
export function ortPeakBytes({ weightBytes, cost }, cacheTokens) {
  const cache = ORT_CACHE_COPIES * ORT_CACHE_WIDTH * cost.kvBytesPerToken * cacheTokens;
  return RUNTIME_BYTES + ORT_WEIGHT_COPIES * weightBytes + cache + cost.activationBytesPerToken * DECODER_ROWS;
}

/**
 * Seconds from the click to a model that is ready, when everything is stored: read, verify, repack, start.
 * @param {{downloadBytes: number}} variant
 * @param {Rates} rates
 */
export function startSeconds({ downloadBytes }, rates) {
  return rates.start_s + downloadBytes / rates.stored_bytes_per_s;
}
