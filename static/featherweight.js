/** Owns the public face of the browser half: thin proxies on the page thread over workers that do everything heavy. */

import { requestPersistence } from "./delivery/quota.js";
import { FeatherweightError } from "./errors.js";
import { Model } from "./model.js";
import { fit, ghostRun, listRuns, probeDevice, shareRun } from "./weigh_in.js";
import { absolute, modelWorker, storeWorker } from "./worker/clients.js";

export { FeatherweightError, fit, ghostRun, listRuns, probeDevice, shareRun };

/**
 * @typedef {import("./device/probe.js").Device} Device
 * @typedef {import("./device/choice.js").Verdict} Verdict
 * @typedef {import("./text/chat_template.js").Message} Message
 * @typedef {import("./tasks/question_answering.js").Answer} Answer
 * @typedef {import("./tasks/run_stats.js").Stats} Stats
 * @typedef {import("./device/receipts.js").Receipt} Receipt
 */

/**
 * What a load has done so far. In the phase "download" the bytes are those of the variant's files: `loadedBytes` of
 * `totalBytes` are here and verified, `networkBytes` of them came over the network this time.
 * @typedef {object} LoadProgress
 * @property {"download" | "compile" | "ready"} phase
 * @property {number} loadedBytes
 * @property {number} totalBytes
 * @property {number} networkBytes
 * @property {number | null} bytesPerSecond
 * @property {number | null} secondsLeft
 */

/**
 * @typedef {object} LoadOptions
 * @property {string} [dtype] a variant of the manifest; without it, the default one (see chooseVariant)
 * @property {string} [backend] "auto" (default), "ort-wasm", "ort-webgpu", ...
 * @property {number} [threads] default: our engine measures up to 16, and again when runs get slow; 1 where the page is
 *   not cross-origin isolated
 * @property {number} [contextLength] tokens the KV cache may hold; default and upper limit: the model's own
 * @property {"int16" | "fp32" | "int8"} [kvDtype] what our engine's KV cache holds; default: int16
 * @property {(progress: LoadProgress) => void} [onProgress]
 * @property {AbortSignal} [signal] stops the load; what was downloaded and verified stays in the store
 */

/**
 * A row of `GET /api/models`, as the server sends it.
 * @typedef {object} ModelRow
 * @property {string} id
 * @property {string} name
 * @property {string} task
 * @property {number} parameters
 * @property {string} license
 * @property {string} family
 * @property {number} context_length
 * @property {Record<string, string>} source
 * @property {{dtype: string, block_size: number | null, download_bytes: number, weight_bytes: number}[]} variants
 * @property {string} manifest_url
 */

/**
 * The models that this server offers.
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<ModelRow[]>}
 */
export async function listModels({ signal } = {}) {
  const url = new URL("/api/models", import.meta.url);
  let response;
  try {
    response = await fetch(url, { signal: signal ?? null });
  } catch (error) {
    throw FeatherweightError.from(error, "network");
  }
  if (!response.ok) {
    throw new FeatherweightError("network", `The list of models answered with status ${response.status}.`, {
      url: url.href,
      status: response.status,
    });
  }
  return response.json();
}

/**
 * How much of a variant is on this device already.
 * @param {string | URL} manifestUrl
 * @param {string} [dtype]
 * @returns {Promise<{presentBytes: number, totalBytes: number, complete: boolean}>}
 */
export function variantStatus(manifestUrl, dtype) {
  return storeWorker().call("variantStatus", { manifestUrl: absolute(manifestUrl), dtype });
}

/**
 * Deletes a variant's files from this device, except those that it shares with another stored variant of the model.
 * @param {string | URL} manifestUrl
 * @param {string} [dtype]
 * @returns {Promise<void>}
 */
export function removeVariant(manifestUrl, dtype) {
  return storeWorker().call("removeVariant", { manifestUrl: absolute(manifestUrl), dtype });
}

/**
 * Downloads what is missing, verifies it, and makes a model ready to run in a worker of its own.
 * @param {string | URL} manifestUrl relative to the page
 * @param {LoadOptions} [options]
 * @returns {Promise<Model>}
 * @throws {FeatherweightError} integrity, quota, network, unsupported, out_of_memory, aborted, bad_manifest, not_found
 */
export async function loadModel(manifestUrl, { dtype, backend, threads, contextLength, kvDtype, onProgress, signal } = {}) {
  void requestPersistence(); // browsers expose the question to pages only
  const connection = modelWorker();
  try {
    const loaded = await connection.call(
      "load",
      { manifestUrl: absolute(manifestUrl), dtype, backend, threads, contextLength, kvDtype },
      { signal, onEvent: (event) => onProgress?.(/** @type {LoadProgress} */ (event)) },
    );
    return new Model(connection, loaded, absolute(manifestUrl));
  } catch (error) {
    connection.close();
    throw error;
  }
}
