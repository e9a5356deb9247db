/** Owns the backend that runs on the project's own kernels (static/engine). */

import { EngineDecoderSession } from "../engine/decoder_session.js";
import { EngineEncoderSession } from "../engine/encoder_session.js";
import { loadEngine } from "../engine/engine.js";
import { kernelFile } from "../engine/kernels.js";
import { FeatherweightError, throwIfAborted } from "../errors.js";

/**
 * @typedef {import("./backend.js").VariantContext} VariantContext
 * @typedef {import("./backend.js").BackendOptions} BackendOptions
 * @typedef {import("./backend.js").Session} Session
 */

const KERNELS = new URL("../wasm/", import.meta.url);

/** @type {import("./backend.js").Backend} */
export const wasm = { name: "wasm", load };

/** @param {VariantContext} context @param {BackendOptions} options @returns {Promise<Session>} */
async function load({ variant, readFile }, { threads, contextLength, signal }) {
  const shared = globalThis.crossOriginIsolated === true;
  const count = shared ? threads : 1;
  const module = await compileKernels(kernelFile(shared), signal);
  const folder = variant.graph.slice(0, variant.graph.lastIndexOf("/") + 1);
  const graph = await readFile(variant.graph);
  const engine = await loadEngine(graph, {
    module,
    threads: count,
    shared,
    contextLength,
    readShard: (location) => readListed(variant, readFile, folder + location),
    check: () => throwIfAborted(signal),
  });
  return engine.plan.model.decoder ? new EngineDecoderSession(engine, count) : new EngineEncoderSession(engine, count);
}

/** A graph may name only shards that the manifest lists. @param {VariantContext["variant"]} variant @param {VariantContext["readFile"]} readFile @param {string} path */
function readListed(variant, readFile, path) {
  if (!variant.shards.includes(path)) {
    throw new FeatherweightError("unsupported", `The graph names ${path}, which the manifest does not list. Convert the model again.`, { path });
  }
  return readFile(path);
}

/** @param {string} file @param {AbortSignal} [signal] */
async function compileKernels(file, signal) {
  const response = await fetch(new URL(file, KERNELS), { signal });
  if (!response.ok) {
    throw new FeatherweightError("not_found", `The server has no ${file}; build it with \`python -m wasm_kernels.build\`.`, { file });
  }
  return WebAssembly.compile(await response.arrayBuffer());
}
