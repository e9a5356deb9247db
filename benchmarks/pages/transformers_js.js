/** Runs stock Transformers.js, files kept in the browser's cache as it does by default. */

import * as transformers from "/bench/transformers/dist/transformers.min.js";

const { env, AutoModel, AutoModelForCausalLM, BaseStreamer, StoppingCriteria, Tensor } = transformers;

/** Stamps the moment of every token; the first call brings the prompt. */
class Stamps extends BaseStreamer {
  /** @type {number[]} */
  times = [];
  put() {
    this.times.push(performance.now());
  }
  end() {}
}

/** Ends a generation that takes longer than `limit` after its first token. */
class TimeLimit extends StoppingCriteria {
  constructor(times, limit) {
    super();
    this.passed = () => performance.now() - times[1] > limit;
  }
  _call(sequences) {
    return sequences.map(this.passed);
  }
}

/**
 * @param {object} options
 * @param {string} options.model
 * @param {string} options.template where its files are on this server
 * @param {string} options.dtype
 * @param {number} options.threads
 * @param {boolean} options.decoder
 * @returns {Promise<import("./measure.js").Subject>}
 */
export async function load({ model, template, dtype, threads, decoder }) {
  env.allowLocalModels = false;
  env.remoteHost = location.origin;
  env.remotePathTemplate = template;
  env.backends.onnx.wasm.wasmPaths = `${location.origin}/bench/transformers/node_modules/onnxruntime-web/dist/`;
  env.backends.onnx.wasm.numThreads = threads;
  const integers = (values, dims) => new Tensor("int64", BigInt64Array.from(values, BigInt), dims);
  const runner = await (decoder ? AutoModelForCausalLM : AutoModel).from_pretrained(model, { dtype, device: "wasm" });
  return {
    async generate({ ids }, newTokens, limit) {
      const streamer = new Stamps();
      const dims = [1, ids.length];
      const start = performance.now();
      await runner.generate({
        input_ids: integers(ids, dims),
        attention_mask: integers(ids.map(() => 1), dims),
        max_new_tokens: newTokens + 1,
        min_new_tokens: newTokens + 1,
        do_sample: false,
        streamer,
        stopping_criteria: [new TimeLimit(streamer.times, limit)],
      });
      const [, first, ...rest] = streamer.times;
      return { promptTokens: ids.length, prefill_ms: first - start, decode_ms: (rest.at(-1) ?? first) - first, tokens: rest.length };
    },
    encode({ ids }) {
      const dims = [ids.length, ids[0].length];
      return runner({ input_ids: integers(ids.flat(), dims), attention_mask: integers(Array(dims[0] * dims[1]).fill(1), dims) });
    },
  };
}
