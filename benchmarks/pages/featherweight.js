/** Runs our own engine, through the public module as any page would. */

import { loadModel } from "/static/featherweight.js";
import { argmax } from "./argmax.js";

/** @returns {Promise<import("./measure.js").Subject>} */
export async function load({ manifest, dtype, threads, contextLength, backend = "wasm" }) {
  const model = await loadModel(manifest, { dtype, threads, contextLength, backend });
  if (model.backend !== backend) throw new Error(`The model runs on ${model.backend}, not on ${backend}.`);
  return {
    async generate({ ids }, newTokens, limit) {
      await model.reset();
      const start = performance.now();
      let logits = await model.prefill(ids);
      let token = argmax(logits);
      const first = performance.now();
      let tokens = 0;
      for (; tokens < newTokens && performance.now() - first < limit; tokens++) {
        logits = await model.decode(token, { into: logits });
        token = argmax(logits);
      }
      return { promptTokens: ids.length, prefill_ms: first - start, decode_ms: performance.now() - first, tokens };
    },
    encode: ({ texts }) => model.embed(texts),
    async decodeAt(ids, lengths, newTokens) {
      await model.reset();
      const found = {};
      let length = 0;
      for (const wanted of lengths) {
        let logits = await model.prefill(ids.slice(length, wanted));
        const start = performance.now();
        for (let step = 0; step < newTokens; step++) logits = await model.decode(argmax(logits), { into: logits });
        found[wanted] = (performance.now() - start) / newTokens;
        length = wanted + newTokens;
      }
      return found;
    },
  };
}
