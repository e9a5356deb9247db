/** Runs LiteRT.js, TensorFlow Lite with XNNPACK as WebAssembly; one signature per shape of batch. */

import { Tensor, loadAndCompile, loadLiteRt } from "/bench/litertjs/core/dist/index.js";
import { stored } from "./stored.js";

/** @returns {Promise<import("./measure.js").Subject>} */
export async function load({ file, threads }) {
  await loadLiteRt("/bench/litertjs/core/wasm/", { threads: threads > 1 });
  const options = { accelerator: "wasm", cpuOptions: { numThreads: threads } };
  const model = await loadAndCompile(await stored(file), options);
  return {
    async encode({ ids }) {
      const dims = [ids.length, ids[0].length];
      const inputs = [new Tensor(Int32Array.from(ids.flat()), dims), new Tensor(new Int32Array(dims[0] * dims[1]).fill(1), dims)];
      const outputs = await model.run(dims.join("x"), inputs);
      const result = await outputs[0].data();
      for (const tensor of [...inputs, ...outputs]) tensor.delete();
      return result;
    },
  };
}
