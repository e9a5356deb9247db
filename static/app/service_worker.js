/** Owns the copies that let the page open without a network: its files and the list of models, never weights. */

/**
 * The parts of the service worker's own types that are used here; the checker's library for pages does not have them.
 * @typedef {Event & {waitUntil: (work: Promise<unknown>) => void}} ExtendableEvent
 * @typedef {ExtendableEvent & {request: Request, respondWith: (response: Promise<Response>) => void}} FetchEvent
 * @typedef {object} ServiceWorkerScope
 * @property {<E extends ExtendableEvent>(type: string, listener: (event: E) => void) => void} addEventListener
 * @property {() => Promise<void>} skipWaiting
 * @property {{claim: () => Promise<void>}} clients
 */

const CACHE = "featherweight-page-1";
/** Without an answer for this long, the copy is shown: a bad network should not look like a broken page. */
const PATIENCE_MS = 4000;
const MANIFEST = /\/resolve\/[^/]+\/manifest\.json$/;
const IMMUTABLE = /\/resolve\/[0-9a-f]{64}\//;
/** What a page file asks for: links and scripts of HTML, imports and workers of modules. */
const REFERENCES = [
  /<(?:link|script)\b[^>]*?\b(?:href|src)="(\/[^"]+)"/g,
  /(?:\bfrom|\bimport)\s*\(?\s*["'](\.{1,2}\/[^"']+\.m?js)["']/g,
  /\bnew URL\(\s*["'](\.{1,2}\/[^"']+\.m?js)["']\s*,\s*import\.meta\.url/g,
];

const worker = /** @type {ServiceWorkerScope} */ (/** @type {unknown} */ (self));

worker.addEventListener("install", (event) => {
  event.waitUntil(keepShell().then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(forgetOldCaches().then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (/** @type {FetchEvent} */ event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || event.request.headers.has("range")) return;
  if (MANIFEST.test(url.pathname)) event.respondWith(IMMUTABLE.test(url.pathname) ? copyFirst(event.request) : networkFirst(event));
  else if (event.request.mode === "navigate" && url.pathname === "/") event.respondWith(networkFirst(event));
  else if (url.pathname.startsWith("/static/") || url.pathname === "/api/models") event.respondWith(networkFirst(event));
});

/** Walks from the page along its own references, so that no list of files can fall behind; then the models' manifests. */
async function keepShell() {
  const cache = await caches.open(CACHE);
  const seen = new Set(["/"]);
  const queue = ["/"];
  while (queue.length > 0) {
    const batch = queue.splice(0, queue.length);
    const found = await Promise.all(batch.map((address) => keepPage(cache, address)));
    for (const address of found.flat()) {
      if (seen.has(address)) continue;
      seen.add(address);
      queue.push(address);
    }
  }
  await keepManifests(cache);
}

/**
 * @param {Cache} cache
 * @param {string} address
 * @returns {Promise<string[]>} the addresses it refers to
 */
async function keepPage(cache, address) {
  const response = await fetch(address);
  if (!response.ok) return [];
  await cache.put(address, response.clone());
  if (!/html|javascript/.test(response.headers.get("content-type") ?? "")) return [];
  const text = await response.text();
  const base = new URL(address, location.origin);
  return REFERENCES.flatMap((pattern) => [...text.matchAll(pattern)])
    .map(([, reference]) => new URL(reference, base))
    .filter((url) => url.origin === location.origin && url.pathname.startsWith("/static/"))
    .map((url) => url.pathname);
}

/** @param {Cache} cache */
async function keepManifests(cache) {
  const response = await fetch("/api/models");
  if (!response.ok) return;
  await cache.put("/api/models", response.clone());
  const models = await response.json();
  await Promise.all(models.map((/** @type {{manifest_url: string}} */ model) => cache.add(model.manifest_url)));
}

async function forgetOldCaches() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith("featherweight-page-") && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
}

/**
 * The network's answer, kept for later; the copy when there is none, or none in time.
 * @param {FetchEvent} event
 * @returns {Promise<Response>}
 */
async function networkFirst(event) {
  const cache = await caches.open(CACHE);
  const key = event.request.mode === "navigate" ? "/" : event.request.url;
  const copy = await cache.match(key);
  const network = fetch(event.request).then(async (response) => {
    if (response.ok) await keep(cache, key, response);
    return response.status >= 500 && copy ? copy : response;
  });
  if (!copy) return network;
  event.waitUntil(network.catch(() => undefined));
  const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, copy));
  return Promise.race([network.catch(() => copy), patience]);
}

/**
 * @param {Request} request whose answer never changes
 * @returns {Promise<Response>}
 */
async function copyFirst(request) {
  const cache = await caches.open(CACHE);
  const copy = await cache.match(request);
  if (copy) return copy;
  const response = await fetch(request);
  if (response.ok) await keep(cache, request, response);
  return response;
}

/** Where storage is full, the page works without its copy. @param {Cache} cache @param {RequestInfo} key @param {Response} response */
async function keep(cache, key, response) {
  await cache.put(key, response.clone()).catch((error) => console.warn("The page keeps no copy for use without a network:", error));
}
