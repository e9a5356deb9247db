/** Owns the worker that measures: rates of this device, and ghost runs of models that are not downloaded yet. */

import { compileKernels } from "../backends/wasm.js";
import { Delivery } from "../delivery/delivery.js";
import { openStore } from "../delivery/store/store.js";
import { chooseVariant } from "../device/choice.js";
import { measureRates } from "../device/measure.js";
import { ghostRun } from "../engine/ghost.js";
import { instantiateKernels, kernelFile } from "../engine/kernels.js";
import { throwIfAborted } from "../errors.js";
import { loadManifest } from "../manifest/load_manifest.js";
import { nextTask, serve } from "./bridge.js";

/** @param {AbortSignal} signal */
function pauseFor(signal) {
  return async () => {
    await nextTask();
    throwIfAborted(signal);
  };
}

/**
 * Runs a variant's plan over synthetic weights; only its graphs are downloaded, which a later load finds in the store.
 * @param {{manifestUrl: string, dtype?: string, threads: number, contextLength: number, promptTokens: number, past: number}} request
 * @param {import("./bridge.js").CallContext} context
 */
async function ghost({ manifestUrl, dtype, threads, contextLength, promptTokens, past }, { signal }) {
  const manifest = await loadManifest(manifestUrl, { signal });
  const variant = chooseVariant(manifest, dtype);
  const graphs = variant.encoder ? [variant.graph, variant.encoder.graph] : [variant.graph];
  const delivery = await Delivery.open(manifest, graphs, await openStore(), { signal });
  try {
    const shared = globalThis.crossOriginIsolated === true;
    const [module, [graph, encoder]] = await Promise.all([
      compileKernels(kernelFile(shared), signal),
      Promise.all(graphs.map((path) => delivery.read(path))),
    ]);
    return await ghostRun(graph, {
      encoder,
      module,
      kernels: await instantiateKernels(module, shared),
      threads: shared ? threads : 1,
      contextLength,
      promptTokens,
      past,
      clock: () => performance.now(),
      pause: pauseFor(signal),
    });
  } finally {
    delivery.close();
  }
}

serve(
  {
    measure: ({ threads, gpu }, { signal, emit }) =>
      measureRates({ threads, gpu, signal, pause: pauseFor(signal), onStart: () => emit({ rates: null }), onRates: (rates) => emit({ rates }) }),
    ghost,
  },
  /** @type {any} */ (globalThis),
);
