/** Owns a decoder on onnxruntime-web: its feeds, and the KV cache that goes out of one run and into the next. */

import { FeatherweightError } from "../errors.js";
import { toFeatherweightError } from "./ort_errors.js";

/**
 * @typedef {import("./ort.js").OrtRuntime} OrtRuntime
 * @typedef {import("onnxruntime-web").Tensor} Tensor
 * @typedef {import("./backend.js").DecoderSession} DecoderSession
 */

/** @implements {DecoderSession} */
export class OrtDecoderSession {
  kind = /** @type {const} */ ("decoder");
  length = 0;
  #runtime;
  #kvHeads;
  #headDim;
  /** @type {string[]} */
  #cacheNames = [];
  /** "float32" or "float16" @type {"float32" | "float16"} */
  #cacheType;
  /** By input name; empty when the cache is. @type {Map<string, Tensor>} */
  #cache = new Map();

  /**
   * @param {OrtRuntime} runtime
   * @param {{layers: number, kvHeads: number, headDim: number}} kvCache
   */
  constructor(runtime, { layers, kvHeads, headDim }) {
    this.#runtime = runtime;
    this.#kvHeads = kvHeads;
    this.#headDim = headDim;
    this.backend = runtime.backend;
    this.threads = runtime.threads;
    for (let layer = 0; layer < layers; layer += 1) {
      this.#cacheNames.push(`past_key_values.${layer}.key`, `past_key_values.${layer}.value`);
    }
    this.#cacheType = cacheType(runtime.session, this.#cacheNames[0]);
  }

  /** @param {readonly number[]} tokenIds [tokens] */
  async prefill(tokenIds) {
    const { ort, session } = this.#runtime;
    const count = tokenIds.length;
    const total = this.length + count;
    /** @type {Record<string, Tensor>} */
    const feeds = {
      input_ids: new ort.Tensor("int64", BigInt64Array.from(tokenIds, BigInt), [1, count]),
      attention_mask: new ort.Tensor("int64", new BigInt64Array(total).fill(1n), [1, total]),
    };
    if (session.inputNames.includes("num_logits_to_keep")) {
      feeds.num_logits_to_keep = new ort.Tensor("int64", BigInt64Array.of(1n), []);
    }
    for (const name of this.#cacheNames) feeds[name] = this.#cache.get(name) ?? this.#emptyCache();
    let results;
    try {
      results = await session.run(feeds);
    } catch (error) {
      throw toFeatherweightError(error, "The model stopped");
    }
    const old = this.#cache;
    this.#cache = new Map();
    for (const name of this.#cacheNames) this.#cache.set(name, results[name.replace("past_key_values", "present")]);
    this.length = total;
    for (const tensor of old.values()) tensor.dispose();
    const logits = /** @type {Float32Array} */ (await results.logits.getData(true));
    const vocabSize = results.logits.dims[2];
    return logits.length === vocabSize ? logits : logits.slice(logits.length - vocabSize);
  }

  /** @param {number} tokenId */
  decode(tokenId) {
    return this.prefill([tokenId]);
  }

  /** @param {number} length */
  async truncate(length) {
    if (length >= this.length) return;
    if (length === 0) return this.reset();
    const kept = new Map();
    for (const [name, tensor] of this.#cache) kept.set(name, await this.#firstTokens(tensor, length));
    for (const tensor of this.#cache.values()) tensor.dispose();
    this.#cache = kept;
    this.length = length;
  }

  async reset() {
    for (const tensor of this.#cache.values()) tensor.dispose();
    this.#cache.clear();
    this.length = 0;
  }

  memoryBytes() {
    // On the CPU the cache is outside the runtime's memory too: its outputs are copied out of it after every run.
    const elementBytes = this.#cacheType === "float16" ? 2 : 4;
    const cacheBytes = this.#cacheNames.length * this.#kvHeads * this.length * this.#headDim * elementBytes;
    return this.#runtime.memoryBytes() + cacheBytes;
  }

  async dispose() {
    await this.reset();
    await this.#runtime.session.release();
  }

  #emptyCache() {
    const data = this.#cacheType === "float16" ? emptyHalf() : new Float32Array(0);
    return new this.#runtime.ort.Tensor(this.#cacheType, data, [1, this.#kvHeads, 0, this.#headDim]);
  }

  /**
   * @param {Tensor} tensor [1, kvHeads, tokens, headDim], where it is
   * @param {number} length
   * @returns {Promise<Tensor>} [1, kvHeads, length, headDim] in the CPU's memory
   */
  async #firstTokens(tensor, length) {
    const data = /** @type {Float32Array} */ (await tensor.getData());
    const tokens = tensor.dims[2];
    const Data = /** @type {Float32ArrayConstructor} */ (data.constructor);
    const kept = new Data(this.#kvHeads * length * this.#headDim);
    for (let head = 0; head < this.#kvHeads; head += 1) {
      const from = head * tokens * this.#headDim;
      kept.set(data.subarray(from, from + length * this.#headDim), head * length * this.#headDim);
    }
    return new this.#runtime.ort.Tensor(this.#cacheType, kept, [1, this.#kvHeads, length, this.#headDim]);
  }
}

/**
 * @param {import("onnxruntime-web").InferenceSession} session
 * @param {string} name
 * @returns {"float32" | "float16"}
 */
function cacheType(session, name) {
  const input = session.inputMetadata.find((metadata) => metadata.name === name);
  const type = input?.isTensor ? input.type : null;
  if (type === "float32" || type === "float16") return type;
  throw new FeatherweightError("unsupported", `The graph's input ${name} is ${type ?? "missing"}: expected float32 or float16.`);
}

/** The array type that onnxruntime-web takes for 16-bit floats depends on what the browser has. */
function emptyHalf() {
  const Half = /** @type {any} */ (globalThis).Float16Array ?? Uint16Array;
  return new Half(0);
}
