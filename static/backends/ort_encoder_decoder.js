/** Owns an encoder-decoder on onnxruntime-web: the states of one text, and the answer's caches over them. */

import { toFeatherweightError } from "./ort_errors.js";

/**
 * @typedef {import("./ort.js").OrtRuntime} OrtRuntime
 * @typedef {import("onnxruntime-web").InferenceSession} InferenceSession
 * @typedef {import("onnxruntime-web").Tensor} Tensor
 * @typedef {import("./backend.js").EncoderDecoderSession} EncoderDecoderSession
 */

/** The cache of the encoder's keys and values is complete after the first run of an answer. */
const COMPLETE = ".encoder.";

/** @implements {EncoderDecoderSession} */
export class OrtEncoderDecoderSession {
  kind = /** @type {const} */ ("encoder-decoder");
  #runtime;
  #encoder;
  /** Inputs of the decoder that are caches, with their empty shapes. @type {{name: string, type: "float32" | "float16", dims: number[]}[]} */
  #caches;
  /** By input name; empty before the first run of an answer. @type {Map<string, Tensor>} */
  #cache = new Map();
  /** What the encoder made of the text. @type {Record<string, Tensor>} */
  #given = {};

  /** @param {OrtRuntime} runtime of the decoder @param {InferenceSession} encoder */
  constructor(runtime, encoder) {
    this.#runtime = runtime;
    this.#encoder = encoder;
    this.backend = runtime.backend;
    this.threads = runtime.threads;
    this.#caches = runtime.session.inputMetadata.flatMap((input) => {
      if (!input.isTensor || !input.name.startsWith("past_key_values.")) return [];
      const dims = [1, Number(input.shape[1]), 0, Number(input.shape[3])];
      return [{ name: input.name, type: input.type === "float16" ? /** @type {const} */ ("float16") : "float32", dims }];
    });
  }

  /** @param {readonly number[]} tokenIds of the text */
  async start(tokenIds) {
    this.#forget();
    const mask = this.#int64(new Array(tokenIds.length).fill(1));
    try {
      const { last_hidden_state: states } = await this.#encoder.run({ input_ids: this.#int64(tokenIds), attention_mask: mask });
      this.#given = { encoder_hidden_states: states, encoder_attention_mask: mask };
    } catch (error) {
      throw toFeatherweightError(error, "The model stopped");
    }
  }

  /** @param {readonly number[]} tokenIds */
  async decode(tokenIds) {
    /** @type {Record<string, Tensor>} */
    const feeds = { input_ids: this.#int64(tokenIds), ...this.#given };
    for (const cache of this.#caches) feeds[cache.name] = this.#cache.get(cache.name) ?? this.#empty(cache);
    let results;
    try {
      results = await this.#runtime.session.run(feeds);
    } catch (error) {
      throw toFeatherweightError(error, "The model stopped");
    }
    for (const { name } of this.#caches) {
      const present = results[name.replace("past_key_values", "present")];
      const old = this.#cache.get(name);
      if (old && name.includes(COMPLETE)) {
        present.dispose();
        continue;
      }
      this.#cache.set(name, present);
      old?.dispose();
    }
    const logits = /** @type {Float32Array} */ (await results.logits.getData(true));
    const vocabSize = results.logits.dims[2];
    return logits.length === vocabSize ? logits : logits.slice(logits.length - vocabSize);
  }

  memoryBytes() {
    const held = [...this.#cache.values(), ...Object.values(this.#given)];
    const cacheBytes = held.reduce((sum, { type, size }) => sum + size * (type === "float16" ? 2 : 4), 0);
    return this.#runtime.memoryBytes() + cacheBytes;
  }

  async dispose() {
    this.#forget();
    await this.#encoder.release();
    await this.#runtime.session.release();
  }

  #forget() {
    for (const tensor of [...this.#cache.values(), ...Object.values(this.#given)]) tensor.dispose();
    this.#cache.clear();
    this.#given = {};
  }

  /** One row. @param {readonly number[]} values */
  #int64(values) {
    return new this.#runtime.ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  }

  /** @param {{type: "float32" | "float16", dims: number[]}} cache */
  #empty({ type, dims }) {
    // What holds 16-bit floats depends on what the browser has.
    const Half = /** @type {any} */ (globalThis).Float16Array ?? Uint16Array;
    return new this.#runtime.ort.Tensor(type, type === "float16" ? new Half(0) : new Float32Array(0), dims);
  }
}
