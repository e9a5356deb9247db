/** Owns the backend that runs on onnxruntime-web, on the CPU (ort-wasm) and on the GPU (ort-webgpu). */

import { throwIfAborted } from "../errors.js";
import { refuseKnownDefects, tryOut } from "./gpu_trial.js";
import { OrtDecoderSession } from "./ort_decoder.js";
import { OrtEncoderDecoderSession } from "./ort_encoder_decoder.js";
import { toFeatherweightError } from "./ort_errors.js";

/**
 * @typedef {import("./backend.js").Backend} Backend
 * @typedef {import("./backend.js").VariantContext} VariantContext
 * @typedef {import("./backend.js").BackendOptions} BackendOptions
 * @typedef {import("./backend.js").EncoderSession} EncoderSession
 * @typedef {import("onnxruntime-web")} Ort
 * @typedef {import("onnxruntime-web").InferenceSession} InferenceSession
 */

/**
 * What a session of either kind needs.
 * @typedef {object} OrtRuntime
 * @property {Ort} ort
 * @property {InferenceSession} session
 * @property {string} backend
 * @property {number} threads
 * @property {boolean} onGpu
 * @property {() => number} memoryBytes WebAssembly memory, and on a GPU the weights there
 */

/** @type {Backend} */
export const ortWasm = { name: "ort-wasm", load: (context, options) => load(context, options, "ort-wasm") };
/** @type {Backend} */
export const ortWebgpu = { name: "ort-webgpu", load: (context, options) => load(context, options, "ort-webgpu") };

const VENDOR = new URL("../vendor/onnxruntime-web/", import.meta.url);

/**
 * @param {VariantContext} context
 * @param {BackendOptions} options
 * @param {"ort-wasm" | "ort-webgpu"} backend
 */
async function load({ manifest, variant, files }, { threads, signal }, backend) {
  const onGpu = backend === "ort-webgpu";
  const watch = watchMemories();
  try {
    const ort = await importOrt(onGpu);
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = VENDOR.href;
    ort.env.logLevel = "error";
    throwIfAborted(signal);
    const options = { executionProviders: [onGpu ? "webgpu" : "wasm"] };
    const encoder = variant.encoder && (await openGraph(ort, variant.encoder, files, options, signal));
    const locations = onGpu ? { preferredOutputLocation: cacheLocations(manifest) } : {};
    const session = await openGraph(ort, variant, files, { ...options, ...locations }, signal);
    const memories = watch.stop();
    const runtime = {
      ort,
      session,
      backend,
      threads,
      onGpu,
      memoryBytes: () => sum(memories.map((memory) => memory.buffer.byteLength)) + (onGpu ? variant.weightBytes : 0),
    };
    const { kvCache } = manifest.model;
    if (encoder) return new OrtEncoderDecoderSession(runtime, encoder);
    const opened = kvCache ? new OrtDecoderSession(runtime, kvCache) : encoderSession(runtime);
    if (onGpu) await tryOut(opened);
    return opened;
  } catch (error) {
    throw toFeatherweightError(error, `${manifest.model.name} (${variant.dtype}) could not be made ready on ${backend}`);
  } finally {
    watch.stop();
  }
}

/**
 * @param {Ort} ort
 * @param {{graph: string, shards: readonly string[]}} spec
 * @param {VariantContext["files"]} files
 * @param {import("onnxruntime-web").InferenceSession.SessionOptions} options
 * @param {AbortSignal} [signal]
 */
async function openGraph(ort, { graph, shards }, files, options, signal) {
  const bytes = await files.read(graph);
  if (options.executionProviders?.includes("webgpu")) refuseKnownDefects(bytes);
  // The graph names its external data by bare file name, relative to itself.
  const externalData = [];
  for (const path of shards) externalData.push({ path: path.slice(path.lastIndexOf("/") + 1), data: await files.read(path) });
  throwIfAborted(signal);
  const session = await ort.InferenceSession.create(bytes, { ...options, externalData });
  // The runtime has its own copy of the weights now: without this the bytes would live as long as these arrays do.
  externalData.length = 0;
  return session;
}

/** @param {boolean} onGpu @returns {Promise<Ort>} */
function importOrt(onGpu) {
  if (onGpu) return import("../vendor/onnxruntime-web/ort.webgpu.min.mjs");
  return import("../vendor/onnxruntime-web/ort.wasm.min.mjs");
}

/**
 * On a GPU the KV cache stays there between two steps.
 * @param {import("../manifest/manifest.js").Manifest} manifest
 */
function cacheLocations({ model }) {
  /** @type {Record<string, "gpu-buffer">} */
  const locations = {};
  for (let layer = 0; layer < (model.kvCache?.layers ?? 0); layer += 1) {
    for (const part of ["key", "value"]) locations[`present.${layer}.${part}`] = "gpu-buffer";
  }
  return locations;
}

/**
 * onnxruntime-web tells nobody how much memory it holds, and Emscripten's glue keeps the WebAssembly.Memory private, so
 * those that are made while the runtime loads are remembered here.
 */
function watchMemories() {
  const Original = WebAssembly.Memory;
  WebAssembly.Memory = class extends Original {
    /** @param {WebAssembly.MemoryDescriptor} descriptor */
    constructor(descriptor) {
      super(descriptor);
      MEMORIES.push(this);
    }
  };
  return {
    stop() {
      WebAssembly.Memory = Original;
      return MEMORIES;
    },
  };
}

/** The runtime makes its memory once per worker, at the first load. @type {WebAssembly.Memory[]} */
const MEMORIES = [];

/** @param {OrtRuntime} runtime @returns {EncoderSession} */
function encoderSession({ ort, session, backend, threads, memoryBytes }) {
  return {
    kind: "encoder",
    backend,
    threads,
    memoryBytes,
    async encode({ inputIds, attentionMask, tokenTypeIds }) {
      const dims = [inputIds.length, inputIds[0].length];
      /** @param {readonly (readonly number[])[]} rows */
      const tensor = (rows) => new ort.Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), dims);
      /** @type {Record<string, import("onnxruntime-web").Tensor>} */
      const feeds = { input_ids: tensor(inputIds), attention_mask: tensor(attentionMask) };
      if (session.inputNames.includes("token_type_ids")) {
        feeds.token_type_ids = tensor(tokenTypeIds ?? inputIds.map((row) => row.map(() => 0)));
      }
      try {
        const results = Object.entries(await session.run(feeds));
        return Object.fromEntries(
          results.map(([name, { data, dims }]) => [name, { data: /** @type {Float32Array} */ (data), dims }]),
        );
      } catch (error) {
        throw toFeatherweightError(error, "The model stopped");
      }
    },
    async dispose() {
      await session.release();
    },
  };
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
