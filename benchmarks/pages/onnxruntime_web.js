/** Runs onnxruntime-web as its documentation shows, files kept in the browser's store. */

import { argmax } from "./argmax.js";
import { stored } from "./stored.js";

const DIST = "/bench/onnxruntime-web/dist/";

/**
 * @param {object} options
 * @param {string} options.graph
 * @param {string[]} options.data its external data, beside it
 * @param {number} options.threads
 * @param {{layers: number, heads: number, width: number}} [options.cache] of a decoder
 * @returns {Promise<import("./measure.js").Subject>}
 */
export async function load({ graph, data, threads, cache }) {
  const ort = await import(`${DIST}ort.wasm.min.mjs`);
  ort.env.wasm.wasmPaths = location.origin + DIST;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const folder = graph.slice(0, graph.lastIndexOf("/") + 1);
  const session = await ort.InferenceSession.create(await stored(graph), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    externalData: await Promise.all(data.map(async (path) => ({ path, data: await stored(folder + path) }))),
  });
  const integers = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
  return cache ? decoder(ort, session, integers, cache) : encoder(session, integers);
}

function encoder(session, integers) {
  return {
    encode({ ids }) {
      const dims = [ids.length, ids[0].length];
      return session.run({ input_ids: integers(ids.flat(), dims), attention_mask: integers(Array(dims[0] * dims[1]).fill(1), dims) });
    },
  };
}

function decoder(ort, session, integers, { heads, width }) {
  const names = session.inputNames.filter((name) => name.startsWith("past_key_values"));
  const keep = session.inputNames.includes("num_logits_to_keep") ? { num_logits_to_keep: integers([1], []) } : {};

  async function step(state, ids) {
    state.length += ids.length;
    const results = await session.run({
      input_ids: integers(ids, [1, ids.length]),
      attention_mask: integers(Array(state.length).fill(1), [1, state.length]),
      ...keep,
      ...state.past,
    });
    state.past = Object.fromEntries(names.map((name) => [name, results[name.replace("past_key_values", "present")]]));
    const { data, dims } = results.logits;
    return argmax(data, data.length - dims[2]);
  }

  return {
    async generate({ ids }, newTokens, limit) {
      const empty = names.map((name) => [name, new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, width])]);
      const state = { length: 0, past: Object.fromEntries(empty) };
      const start = performance.now();
      let token = await step(state, ids);
      const first = performance.now();
      let tokens = 0;
      for (; tokens < newTokens && performance.now() - first < limit; tokens++) token = await step(state, [token]);
      return { promptTokens: ids.length, prefill_ms: first - start, decode_ms: performance.now() - first, tokens };
    },
  };
}
