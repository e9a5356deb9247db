/** Owns a model's worker: it downloads, verifies, loads and runs one model, and answers the page's calls in their order. */

import { chooseBackends } from "../backends/registry.js";
import { Delivery } from "../delivery/delivery.js";
import { removeVariant, storageFacts, variantStatus } from "../delivery/downloader.js";
import { openStore } from "../delivery/store/store.js";
import { chooseVariant } from "../device/choice.js";
import { defaultThreads } from "../device/fit.js";
import { probeWasm, probeWebgpu } from "../device/probe.js";
import { FeatherweightError, throwIfAborted } from "../errors.js";
import { loadManifest } from "../manifest/load_manifest.js";
import { Transferred, serve } from "./bridge.js";
import { createTask, readTextFiles, textHabits } from "./model_parts.js";

/**
 * @typedef {import("./bridge.js").CallContext} CallContext
 * @typedef {import("../backends/backend.js").Session} Session
 * @typedef {import("../manifest/manifest.js").Manifest} Manifest
 * @typedef {import("../manifest/manifest.js").Variant} Variant
 * @typedef {import("../tasks/text_generation.js").TextGeneration} TextGeneration
 * @typedef {import("../tasks/encoder.js").Encoder} Encoder
 * @typedef {import("../tasks/text_to_text.js").TextToText} TextToText
 * @typedef {import("../tasks/token_classification.js").TokenClassification} TokenClassification
 * @typedef {import("../tasks/question_answering.js").QuestionAnswering} QuestionAnswering
 * @typedef {import("../tasks/fill_mask.js").FillMask} FillMask
 */

/**
 * @typedef {object} LoadRequest
 * @property {string} manifestUrl absolute
 * @property {string} [dtype]
 * @property {string} [backend]
 * @property {number} [threads]
 * @property {number} [contextLength]
 * @property {"int16" | "fp32" | "int8"} [kvDtype]
 */

/**
 * What the page is told of a loaded model.
 * @typedef {object} Loaded
 * @property {string} id
 * @property {string} name
 * @property {string} task
 * @property {string} dtype
 * @property {string} backend
 * @property {number} threads
 * @property {number} contextLength
 * @property {readonly string[] | null} labels
 * @property {import("./model_parts.js").TextHabits} texts
 * @property {import("../text/tokenizer.js").TokenizerFiles} tokenizerFiles
 * @property {import("../tasks/run_stats.js").Stats} stats
 */

/** Beyond this no more of them help with models of the size that browsers run. */
const MOST_THREADS = 16;

/** @type {import("./model_parts.js").Task | null} */
let task = null;
/** The last of the calls that use the model: they wait for each other. @type {Promise<unknown>} */
let lastCall = Promise.resolve();

/**
 * @param {LoadRequest} request
 * @param {CallContext} context
 * @returns {Promise<Transferred>} of what Loaded describes
 */
async function load({ manifestUrl, dtype, backend = "auto", threads, contextLength, kvDtype }, { signal, emit }) {
  const startedAt = performance.now();
  const [manifest, webgpu, store] = await Promise.all([loadManifest(manifestUrl, { signal }), probeWebgpu(), openStore()]);
  const { model } = manifest;
  const variant = chooseVariant(manifest, dtype);
  // What cannot run is refused before it is downloaded.
  const candidates = chooseBackends(backend, { simd: probeWasm().simd, webgpu }, variant);
  candidates[0].open().catch(() => {}); // its modules come meanwhile; whoever needs it meets the error

  const progress = { loadedBytes: 0, totalBytes: variant.downloadBytes, networkBytes: 0 };
  const settled = () => ({ ...progress, bytesPerSecond: null, secondsLeft: null });
  const delivery = await Delivery.open(manifest, variant.files, store, {
    signal,
    onProgress: ({ loadedBytes, totalBytes, networkBytes, bytesPerSecond, secondsLeft }) => {
      Object.assign(progress, { loadedBytes, totalBytes, networkBytes });
      if (loadedBytes === totalBytes) emit({ phase: "compile", ...settled() });
      else emit({ phase: "download", ...progress, bytesPerSecond, secondsLeft });
    },
  });
  const limits = {
    ...threadLimits(threads),
    contextLength: Math.min(contextLength ?? model.contextLength, model.contextLength),
    kvDtype,
  };
  /** @type {[Session, import("./model_parts.js").TextFiles]} */
  let parts;
  try {
    parts = await Promise.all([
      openSession(candidates, { manifest, variant, files: delivery }, { ...limits, signal }),
      readTextFiles(variant.files, (path) => delivery.read(path)),
    ]);
    // What nothing has asked for belongs to a complete copy all the same, where there is room for one.
    await delivery.fetch(variant.files).catch((error) => {
      if (error.code !== "quota") throw error;
    });
  } finally {
    delivery.close();
  }
  const [session, texts] = parts;
  throwIfAborted(signal);
  task = createTask({ manifest, session, texts, contextLength: limits.contextLength });
  task.stats.loaded({ seconds: (performance.now() - startedAt) / 1000, downloadBytes: delivery.networkBytes });
  emit({ phase: "ready", ...settled() });
  // Nothing here needs them any more.
  const { tokenizer, config } = texts.tokenizerFiles;
  /** @type {Loaded} */
  const loaded = {
    id: model.id,
    name: model.name,
    task: model.task,
    dtype: variant.dtype,
    backend: session.backend,
    threads: session.threads,
    contextLength: limits.contextLength,
    labels: model.labels,
    texts: textHabits(texts),
    tokenizerFiles: texts.tokenizerFiles,
    stats: task.stats.snapshot(),
  };
  return new Transferred(loaded, [tokenizer, ...(config ? [config] : [])].map(({ buffer }) => /** @type {ArrayBuffer} */ (buffer)));
}

/**
 * @param {ReturnType<typeof chooseBackends>} candidates
 * @param {import("../backends/backend.js").VariantContext} context
 * @param {import("../backends/backend.js").BackendOptions} options
 * @returns {Promise<Session>}
 */
async function openSession(candidates, context, options) {
  for (const [at, candidate] of candidates.entries()) {
    try {
      return await (await candidate.open()).load(context, options);
    } catch (error) {
      const next = candidates[at + 1];
      const code = error instanceof FeatherweightError ? error.code : "unsupported";
      if (!next || !["unsupported", "out_of_memory", "device_lost"].includes(code)) throw error;
      console.warn(`${candidate.name} failed, going on with ${next.name}:`, error);
    }
  }
  throw new FeatherweightError("unsupported", "There is no backend to try.");
}

/** What a backend is told about threads: a number that was asked for is kept. @param {number} [asked] */
function threadLimits(asked) {
  if (!globalThis.crossOriginIsolated) return { threads: 1 };
  if (asked !== undefined) return { threads: Math.max(1, Math.floor(asked)) };
  const { hardwareConcurrency } = navigator;
  return { threads: defaultThreads(hardwareConcurrency), mostThreads: Math.min(hardwareConcurrency || 1, MOST_THREADS) };
}

/**
 * Runs a call on the loaded model when those before it are through.
 * @template T
 * @param {CallContext} context
 * @param {(model: any) => Promise<T>} run
 * @returns {Promise<T>}
 */
function inTurn({ signal }, run) {
  const call = lastCall.then(() => {
    throwIfAborted(signal);
    if (!task) throw new FeatherweightError("not_found", "No model is loaded here.");
    return run(task);
  });
  lastCall = call.catch(() => {});
  return call;
}

/**
 * @param {any} model
 * @param {Float32Array | Float32Array[]} value
 */
function measured(model, value) {
  const arrays = Array.isArray(value) ? value : [value];
  const buffers = /** @type {ArrayBuffer[]} */ (arrays.map((array) => array.buffer));
  return new Transferred({ value, stats: model.stats.snapshot() }, [...new Set(buffers)]);
}

/** @param {import("./model_parts.js").Task} model @param {unknown} value */
function withStats(model, value) {
  return { value, stats: model.stats.snapshot() };
}

serve(
  {
    load,
    generate: ({ input, options }, context) =>
      inTurn(context, async (/** @type {TextGeneration | TextToText} */ model) => {
        for await (const piece of model.generate(input, options, context.signal)) {
          context.emit({ piece, stats: model.stats.snapshot() });
        }
      }),
    prefill: ({ tokenIds, into }, context) =>
      inTurn(context, async (/** @type {TextGeneration} */ model) => measured(model, await model.prefill(tokenIds, context.signal, into))),
    decode: ({ tokenId, into }, context) =>
      inTurn(context, async (/** @type {TextGeneration} */ model) => measured(model, await model.decode(tokenId, into))),
    reset: (_, context) => inTurn(context, (/** @type {TextGeneration} */ model) => model.reset()),
    embed: ({ texts }, context) =>
      inTurn(context, async (/** @type {Encoder} */ model) => measured(model, await model.embed(texts, context.signal))),
    classify: ({ texts, labels }, context) =>
      inTurn(context, async (/** @type {Encoder} */ model) =>
        withStats(model, await model.classify(texts, { labels, signal: context.signal })),
      ),
    classifyTokens: ({ texts, options }, context) =>
      inTurn(context, async (/** @type {TokenClassification} */ model) =>
        withStats(model, await model.classifyTokens(texts, { ...options, signal: context.signal })),
      ),
    answer: ({ question, text, options }, context) =>
      inTurn(context, async (/** @type {QuestionAnswering} */ model) =>
        withStats(model, await model.answer(question, text, { ...options, signal: context.signal })),
      ),
    fillMask: ({ texts, options }, context) =>
      inTurn(context, async (/** @type {FillMask} */ model) =>
        withStats(model, await model.fillMask(texts, { ...options, signal: context.signal })),
      ),
    variantStatus: async ({ manifestUrl, dtype }, { signal }) => {
      const manifest = await loadManifest(manifestUrl, { signal });
      return variantStatus(manifest, chooseVariant(manifest, dtype).dtype, await openStore());
    },
    storageFacts: async ({ manifestUrl }, { signal }) => {
      const [manifest, store] = await Promise.all([loadManifest(manifestUrl, { signal }), openStore()]);
      return storageFacts(manifest, store);
    },
    removeVariant: async ({ manifestUrl, dtype }, { signal }) => {
      const manifest = await loadManifest(manifestUrl, { signal });
      await removeVariant(manifest, chooseVariant(manifest, dtype).dtype, await openStore());
    },
  },
  /** @type {any} */ (globalThis),
);
