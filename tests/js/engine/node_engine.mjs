/** Runs the engine in Node: compiled kernels from disk, threads of node:worker_threads, models from the model directory. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";

import { loadEngine } from "../../../static/engine/engine.js";
import { instantiateKernels } from "../../../static/engine/kernels.js";
import { openSession as sessionOf } from "../../../static/engine/sessions.js";

// Node 20 hides relaxed SIMD behind a flag, and its baseline compiler gets one of its instructions wrong.
setFlagsFromString("--experimental-wasm-relaxed-simd");
setFlagsFromString("--no-liftoff");

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../../..");
export const BUILDS = [
  { file: "kernels_relaxed_simd_threads.wasm", shared: true },
  { file: "kernels_simd_threads.wasm", shared: true },
  { file: "kernels_simd.wasm", shared: false },
];

/** Why the kernels cannot be tested here, or false. */
export const kernelsMissing = BUILDS.every(({ file }) => existsSync(join(ROOT, "static/wasm", file)))
  ? false
  : "the kernels are not built; run `python -m wasm_kernels.build`";

/** @param {string} file */
export async function compileKernels(file) {
  return WebAssembly.compile(await readFile(join(ROOT, "static/wasm", file)));
}

/** Where a bundled model lies. @param {string} id */
export function modelDirectory(id) {
  return join(ROOT, "models", id);
}

/** Why a bundled model cannot be tested here, or false. @param {string} id */
export function modelMissing(id) {
  return kernelsMissing || (existsSync(join(modelDirectory(id), "manifest.json")) ? false : `models/${id} is not there; run \`make models\``);
}

export function createWorker() {
  const worker = new Worker(new URL("./node_thread.mjs", import.meta.url));
  const handle = {
    onmessage: null,
    onerror: null,
    postMessage: (message) => worker.postMessage(message),
    terminate: () => worker.terminate(),
  };
  worker.on("message", (data) => {
    worker.unref(); // an idle thread must not keep a finished test alive
    handle.onmessage?.({ data });
  });
  worker.on("error", (error) => handle.onerror?.(error));
  return handle;
}

/** Reads shards whole, one after the other. @param {string} folder */
export function wholeShards(folder) {
  return async (locations, take) => {
    for (const location of locations) take(location, 0, await readFile(join(folder, location)));
  };
}

/**
 * An engine on some `.onnx` file.
 * @param {string} path
 * @param {{file: string, shared: boolean}} build
 * @param {{threads?: number, measure?: boolean, contextLength?: number, kvDtype?: "fp32" | "int16" | "int8", readShards?: import("../../../static/engine/engine.js").EngineOptions["readShards"],
 *   encoder?: string, below?: number}} [options] encoder: the file of an encoder-decoder's other graph; below: bytes of memory that are taken before
 */
export async function openEngine(path, build, { threads = 1, measure = false, contextLength = 1024, kvDtype, readShards = wholeShards(dirname(path)), encoder, below = 0 } = {}) {
  const module = await compileKernels(build.file);
  const kernels = await instantiateKernels(module, build.shared);
  kernels.memory.allocate(below);
  return loadEngine(await readFile(path), { encoder: encoder && (await readFile(encoder)), module, kernels, threads, measure, contextLength, kvDtype, readShards, createWorker });
}

/** A session on some `.onnx` file; options as for openEngine. */
export async function openSession(path, build, options = {}) {
  const engine = await openEngine(path, build, options);
  return sessionOf(engine);
}
