/** Runs wllama, llama.cpp compiled to WebAssembly; it keeps files in the origin's private file system by default. */

import { Wllama } from "/bench/wllama/esm/index.js";

const quiet = { debug() {}, log() {}, warn() {}, error: console.error };

/** @returns {Promise<import("./measure.js").Subject>} */
export async function load({ gguf, threads }) {
  const wllama = new Wllama({ default: "/bench/wllama/esm/wasm/wllama.wasm" }, { logger: quiet });
  await wllama.loadModelFromUrl(location.origin + gguf, { n_threads: threads, n_ctx: 1024, n_batch: 512, n_gpu_layers: 0 });
  if (wllama.getNumThreads() !== threads) throw new Error(`wllama took ${wllama.getNumThreads()} threads, not ${threads}.`);
  return {
    async generate({ text }, newTokens, limit) {
      /** @type {number[]} */
      const times = [];
      let timings = { prompt_n: 0, predicted_n: 0 };
      const stop = new AbortController();
      const start = performance.now();
      try {
        await wllama.createCompletion({
          prompt: text,
          max_tokens: newTokens + 1,
          temperature: 0,
          top_k: 1,
          ignore_eos: true,
          cache_prompt: false,
          timings_per_token: true,
          stream: true,
          abortSignal: stop.signal,
          onData(chunk) {
            times.push(performance.now());
            if (chunk.timings) timings = chunk.timings;
            if (performance.now() - times[0] > limit) stop.abort();
          },
        });
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
      const first = times[0];
      const tokens = timings.predicted_n - 1;
      return { promptTokens: timings.prompt_n, prefill_ms: first - start, decode_ms: times.at(-1) - first, tokens };
    },
  };
}
