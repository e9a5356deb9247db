/** Owns the workers that the page starts: one for each model, one that looks into the store, one that measures. */

import { connect } from "./bridge.js";

/** @typedef {import("./bridge.js").Connection} Connection */

/** @type {Connection | null} */
let storeConnection = null;

/** A worker of its own for one model. */
export function modelWorker() {
  return connect(startWorker("featherweight-model"));
}

/** The worker that looks into the store for the page; one for the page's life, a new one if it should crash. */
export function storeWorker() {
  if (!storeConnection || storeConnection.closed) storeConnection = connect(startWorker("featherweight-store"));
  return storeConnection;
}

/** A worker that measures; end it afterwards, so that its memory is free again. */
export function probeWorker() {
  return connect(new Worker(new URL("./probe_worker.js", import.meta.url), { type: "module", name: "featherweight-probe" }));
}

/** @param {string} name shown by the browser's developer tools */
function startWorker(name) {
  return new Worker(new URL("./model_worker.js", import.meta.url), { type: "module", name });
}

/** @param {string | URL} url relative to the page @returns {string} */
export function absolute(url) {
  return new URL(url, document.baseURI).href;
}
