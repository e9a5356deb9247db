/** Owns the backend that runs on the project's own kernels (static/engine). */

import { loadEngine } from "../engine/engine.js";
import { instantiateKernels, kernelFile } from "../engine/kernels.js";
import { openSession } from "../engine/sessions.js";
import { FeatherweightError } from "../errors.js";

/**
 * @typedef {import("./backend.js").VariantContext} VariantContext
 * @typedef {import("./backend.js").BackendOptions} BackendOptions
 * @typedef {import("./backend.js").Session} Session
 */

const KERNELS = new URL("../wasm/", import.meta.url);

/** @type {import("./backend.js").Backend} */
export const wasm = { name: "wasm", load };

/** @param {VariantContext} context @param {BackendOptions} options @returns {Promise<Session>} */
async function load({ manifest, variant, files }, { threads, mostThreads, contextLength, kvDtype, signal }) {
  const shared = globalThis.crossOriginIsolated === true;
  const [module, graph, encoder] = await Promise.all([
    compileKernels(kernelFile(shared), signal),
    files.read(variant.graph),
    variant.encoder ? files.read(variant.encoder.graph) : undefined,
  ]);
  const folder = variant.graph.slice(0, variant.graph.lastIndexOf("/") + 1);
  const engine = await loadEngine(graph, {
    encoder,
    locate: oneName(manifest, variant, folder),
    module,
    kernels: await instantiateKernels(module, shared),
    threads: shared ? (mostThreads ?? threads) : 1,
    measure: mostThreads !== undefined,
    contextLength,
    kvDtype,
    readShards: (locations, take) =>
      files.stream(listed(variant, folder, locations), (path, offset, bytes) => take(path.slice(folder.length), offset, bytes)),
  });
  return openSession(engine);
}

/**
 * What both graphs of an encoder-decoder have lies in files of the same bytes: weights exist once.
 * @param {VariantContext["manifest"]} manifest
 * @param {VariantContext["variant"]} variant
 * @param {string} folder
 * @returns {(location: string) => string}
 */
function oneName({ files }, variant, folder) {
  const shards = shardsOf(variant);
  return (location) => {
    const content = files.get(folder + location)?.sha256;
    const first = content && shards.find((path) => files.get(path)?.sha256 === content);
    return first ? first.slice(folder.length) : location;
  };
}

/** @param {VariantContext["variant"]} variant */
function shardsOf({ encoder, shards }) {
  return [...(encoder?.shards ?? []), ...shards];
}

/** A graph may name only shards that the manifest lists. @param {VariantContext["variant"]} variant @param {string} folder @param {readonly string[]} locations */
function listed(variant, folder, locations) {
  const shards = shardsOf(variant);
  const stranger = locations.find((location) => !shards.includes(folder + location));
  if (stranger === undefined) return locations.map((location) => folder + location);
  throw new FeatherweightError("unsupported", `The graph names ${stranger}, which the manifest does not list. Convert the model again.`, {
    path: folder + stranger,
  });
}

/** The kernels as this server has them. @param {string} file @param {AbortSignal} [signal] @throws {FeatherweightError} not_found */
export async function compileKernels(file, signal) {
  const response = await fetch(new URL(file, KERNELS), { signal });
  if (!response.ok) {
    throw new FeatherweightError("not_found", `The server has no ${file}; build it with \`python -m wasm_kernels.build\`.`, { file });
  }
  return WebAssembly.compileStreaming(response);
}
