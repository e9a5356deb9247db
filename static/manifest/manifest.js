/** Owns what manifest.json says: the only module of the browser half that knows its JSON. */
import { FeatherweightError } from "../errors.js";
import {
  asArray,
  asCount,
  asFlag,
  asObject,
  asRelativePath,
  asSha256,
  asText,
  asTexts,
  orNull,
  refuse,
} from "./fields.js";

/**
 * @typedef {object} FileEntry
 * @property {string} path relative to the model directory
 * @property {string} url absolute
 * @property {number} sizeBytes
 * @property {string} sha256 hex, of the whole file
 * @property {readonly string[]} chunks sha256 hex of each chunk of `chunkSize` bytes, the last one shorter
 */

/**
 * @typedef {object} Pooling
 * @property {string} mode "mean" | "cls"
 * @property {boolean} normalize
 * @property {number} maxTokens
 */

/**
 * @typedef {object} ModelFacts
 * @property {string} id
 * @property {string} name
 * @property {string} family
 * @property {string} task
 * @property {number} parameters
 * @property {string} license
 * @property {number} contextLength
 * @property {number} vocabSize
 * @property {Pooling | null} pooling
 * @property {readonly string[] | null} labels
 * @property {{layers: number, kvHeads: number, headDim: number} | null} kvCache
 */

/**
 * What one token costs; the keys of `perToken` are operator classes as the manifest spells them ("linear_4bit").
 * @typedef {object} Cost
 * @property {Readonly<Record<string, {bytes: number, macs: number}>>} perToken
 * @property {number} steps
 * @property {number} kvBytesPerToken
 * @property {number} activationBytesPerToken
 */

/**
 * @typedef {object} Variant
 * @property {string} dtype
 * @property {number | null} blockSize
 * @property {string} graph path
 * @property {readonly string[]} shards paths, in order of first use
 * @property {readonly string[]} files paths of everything a client fetches, in order
 * @property {number} downloadBytes sum of the sizes of `files`, each content once
 * @property {number} weightBytes
 * @property {number} largestTensorBytes of the largest weight of any graph, all of its parts: a GPU takes it in one buffer
 * @property {Cost} cost
 * @property {GraphSpec | null} encoder of an encoder-decoder, else null; `graph`, `shards` and `cost` are the decoder's
 */

/** A graph with its external data. @typedef {{graph: string, shards: readonly string[], cost: Cost}} GraphSpec */

/**
 * @typedef {object} Manifest
 * @property {string} url absolute, of manifest.json itself
 * @property {number} chunkSize bytes
 * @property {ModelFacts} model
 * @property {ReadonlyMap<string, FileEntry>} files by path
 * @property {readonly Variant[]} variants
 * @property {(dtype: string) => Variant} variant throws "not_found"
 */

const FORMAT = "featherweight-manifest";
const VERSION = 1;
const CHUNK_SIZE_RANGE = [1 << 10, 16 << 20];

/**
 * Checks a manifest's text and turns it into frozen objects. Unknown keys are ignored, so that later versions may add
 * some.
 * @param {string} text
 * @param {string} url absolute; the files' URLs are relative to it
 * @returns {Manifest}
 * @throws {FeatherweightError} bad_manifest
 */
export function parseManifest(text, url) {
  let json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new FeatherweightError("bad_manifest", `${url} is not JSON.`, { url }, { cause: error });
  }
  const root = asObject(json, "the whole");
  if (root.format !== FORMAT) refuse("format", `must be "${FORMAT}"`);
  if (root.version !== VERSION) {
    refuse(
      "version",
      `is ${JSON.stringify(root.version)}, this page reads version ${VERSION}; reload the page for a newer one`,
    );
  }
  const chunkSize = asCount(root.chunk_size, "chunk_size");
  if (chunkSize < CHUNK_SIZE_RANGE[0] || chunkSize > CHUNK_SIZE_RANGE[1]) {
    refuse("chunk_size", `must lie in ${CHUNK_SIZE_RANGE.join("..")}`);
  }
  const files = readFiles(root.files, chunkSize, url);
  const variants = asArray(root.variants, "variants").map((item, i) => readVariant(item, `variants[${i}]`, files));
  if (variants.length === 0) refuse("variants", "must not be empty");
  const byDtype = new Map(variants.map((variant) => [variant.dtype, variant]));
  if (byDtype.size < variants.length) refuse("variants", "must not name a dtype twice");

  return Object.freeze({
    url,
    chunkSize,
    model: readModel(root.model),
    files,
    variants: Object.freeze(variants),
    /** @param {string} dtype */
    variant(dtype) {
      const found = byDtype.get(dtype);
      if (found) return found;
      const known = [...byDtype.keys()].join(", ");
      throw new FeatherweightError("not_found", `This model has no variant "${dtype}"; it has ${known}.`, { dtype });
    },
  });
}

/**
 * @param {unknown} value
 * @param {number} chunkSize
 * @param {string} manifestUrl
 * @returns {ReadonlyMap<string, FileEntry>}
 */
function readFiles(value, chunkSize, manifestUrl) {
  const files = new Map();
  for (const [key, item] of Object.entries(asObject(value, "files"))) {
    const where = `files[${JSON.stringify(key)}]`;
    const path = asRelativePath(key, where);
    const entry = asObject(item, where);
    const sizeBytes = asCount(entry.size_bytes, `${where}.size_bytes`);
    const sha256 = asSha256(entry.sha256, `${where}.sha256`);
    const chunks = asArray(entry.chunks, `${where}.chunks`).map((hash, i) => asSha256(hash, `${where}.chunks[${i}]`));
    const expected = Math.ceil(sizeBytes / chunkSize);
    if (chunks.length !== expected) refuse(`${where}.chunks`, `must hold ${expected} hashes, holds ${chunks.length}`);
    if (chunks.length === 1 && chunks[0] !== sha256)
      refuse(`${where}.chunks`, "must equal sha256, as there is one chunk");
    const url = new URL(path.split("/").map(encodeURIComponent).join("/"), manifestUrl).href;
    files.set(path, Object.freeze({ path, url, sizeBytes, sha256, chunks: Object.freeze(chunks) }));
  }
  return files;
}

/** @param {unknown} value @returns {Readonly<ModelFacts>} */
function readModel(value) {
  const model = asObject(value, "model");
  return Object.freeze({
    id: asText(model.id, "model.id"),
    name: asText(model.name, "model.name"),
    family: asText(model.family, "model.family"),
    task: asText(model.task, "model.task"),
    parameters: asCount(model.parameters, "model.parameters"),
    license: asText(model.license, "model.license"),
    contextLength: asCount(model.context_length, "model.context_length"),
    vocabSize: asCount(model.vocab_size, "model.vocab_size"),
    pooling: orNull(model.pooling, "model.pooling", readPooling),
    labels: orNull(model.labels, "model.labels", (labels, where) => Object.freeze(asTexts(labels, where))),
    kvCache: orNull(model.kv_cache, "model.kv_cache", readKvCache),
  });
}

/** @param {unknown} value @param {string} where */
function readPooling(value, where) {
  const pooling = asObject(value, where);
  return Object.freeze({
    mode: asText(pooling.mode, `${where}.mode`),
    normalize: asFlag(pooling.normalize, `${where}.normalize`),
    maxTokens: asCount(pooling.max_tokens, `${where}.max_tokens`),
  });
}

/** @param {unknown} value @param {string} where */
function readKvCache(value, where) {
  const cache = asObject(value, where);
  return Object.freeze({
    layers: asCount(cache.layers, `${where}.layers`),
    kvHeads: asCount(cache.kv_heads, `${where}.kv_heads`),
    headDim: asCount(cache.head_dim, `${where}.head_dim`),
  });
}

/**
 * @param {unknown} value
 * @param {string} where
 * @param {ReadonlyMap<string, FileEntry>} files
 * @returns {Readonly<Variant>}
 */
function readVariant(value, where, files) {
  const variant = asObject(value, where);
  const paths = asTexts(variant.files, `${where}.files`);
  const own = readGraph(variant, where);
  const encoder = orNull(variant.encoder, `${where}.encoder`, (value, place) => readGraph(asObject(value, place), place));
  for (const path of paths) if (!files.has(path)) refuse(`${where}.files`, `names "${path}", which is not in files`);
  for (const { graph, shards } of encoder ? [encoder, own] : [own]) {
    for (const path of [graph, ...shards]) if (!paths.includes(path)) refuse(where, `needs "${path}" but does not list it`);
  }
  if (new Set(paths).size < paths.length) refuse(`${where}.files`, "must not name a file twice");
  const downloadBytes = asCount(variant.download_bytes, `${where}.download_bytes`);
  const contents = new Map(paths.map((path) => [files.get(path)?.sha256, files.get(path)?.sizeBytes ?? 0]));
  const sum = [...contents.values()].reduce((total, size) => total + size, 0);
  if (downloadBytes !== sum) refuse(`${where}.download_bytes`, `must be the sum of its files' sizes, ${sum}`);
  const weightBytes = asCount(variant.weight_bytes, `${where}.weight_bytes`);
  const largestTensorBytes = asCount(variant.largest_tensor_bytes, `${where}.largest_tensor_bytes`);
  if (largestTensorBytes > weightBytes) refuse(`${where}.largest_tensor_bytes`, `must be at most weight_bytes, ${weightBytes}`);
  return Object.freeze({
    dtype: asText(variant.dtype, `${where}.dtype`),
    blockSize: orNull(variant.block_size, `${where}.block_size`, asCount),
    ...own,
    files: Object.freeze(paths),
    downloadBytes,
    weightBytes,
    largestTensorBytes,
    encoder,
  });
}

/** @param {import("./fields.js").JsonObject} value @param {string} where @returns {Readonly<GraphSpec>} */
function readGraph(value, where) {
  return Object.freeze({
    graph: asText(value.graph, `${where}.graph`),
    shards: Object.freeze(asTexts(value.shards, `${where}.shards`)),
    cost: readCost(value.cost, `${where}.cost`),
  });
}

/** @param {unknown} value @param {string} where @returns {Readonly<Cost>} */
function readCost(value, where) {
  const cost = asObject(value, where);
  /** @type {Record<string, {bytes: number, macs: number}>} */
  const perToken = {};
  for (const [name, item] of Object.entries(asObject(cost.per_token, `${where}.per_token`))) {
    const at = `${where}.per_token.${name}`;
    const { bytes, macs } = asObject(item, at);
    perToken[name] = Object.freeze({ bytes: asCount(bytes, `${at}.bytes`), macs: asCount(macs, `${at}.macs`) });
  }
  return Object.freeze({
    perToken: Object.freeze(perToken),
    steps: asCount(cost.steps, `${where}.steps`),
    kvBytesPerToken: asCount(cost.kv_bytes_per_token, `${where}.kv_bytes_per_token`),
    activationBytesPerToken: asCount(cost.activation_bytes_per_token, `${where}.activation_bytes_per_token`),
  });
}
