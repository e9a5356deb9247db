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

const CACHE = "featherweight-page-2";
/** Without an answer for this long, the copy is shown: a bad network should not look like a broken page. */
const PATIENCE_MS = 4000;
const MANIFEST = /\/resolve\/[^/]+\/manifest\.json$/;
const IMMUTABLE = /\/resolve\/[0-9a-f]{64}\//;
/** A page file as part of one version of the page, which never changes. */
const VERSIONED = /^\/static\/([0-9a-f]{16})\/(.+)$/;
/** What a page file asks for: links and scripts of HTML, imports and workers of modules. */
const REFERENCES = [
  /<(?:link|script)\b[^>]*?\b(?:href|src)="(\/[^"]+)"/g,
  /(?:\bfrom|\bimport)\s*\(?\s*["'](\.{1,2}\/[^"']+\.m?js)["']/g,
  /\bnew URL\(\s*["'](\.{1,2}\/[^"']+\.m?js)["']\s*,\s*import\.meta\.url/g,
];

const worker = /** @type {ServiceWorkerScope} */ (/** @type {unknown} */ (self));

worker.addEventListener("install", (event) => {
  event.waitUntil(
    fetch("/")
      .then(keepShell)
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(forgetOldCaches().then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (/** @type {FetchEvent} */ event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || event.request.headers.has("range")) return;
  if (MANIFEST.test(url.pathname)) event.respondWith(IMMUTABLE.test(url.pathname) ? copyFirst(event) : networkFirst(event));
  else if (event.request.mode === "navigate" && url.pathname === "/") event.respondWith(networkFirst(event));
  else if (VERSIONED.test(url.pathname)) event.respondWith(copyFirst(event));
  else if (url.pathname.startsWith("/static/") || url.pathname === "/api/models") event.respondWith(networkFirst(event));
});

/**
 * Walks from the page along its own references, so that no list of files can fall behind; then the models' manifests.
 * The page itself is kept when all that it needs is there. What else was used of the version before comes along.
 * @param {Response} page
 */
async function keepShell(page) {
  if (!page.ok) return;
  const cache = await caches.open(CACHE);
  /** @type {Set<string>} */
  const seen = new Set();
  let queue = await references(page.clone(), "/");
  while (queue.length > 0) {
    const batch = [...new Set(queue)].filter((address) => !seen.has(address));
    for (const address of batch) seen.add(address);
    queue = (await Promise.all(batch.map((address) => keepPage(cache, address)))).flat();
  }
  const version = [...seen].map((address) => VERSIONED.exec(address)?.[1]).find(Boolean);
  await renew(cache, version);
  await cache.put("/", page);
  await forgetOthers(cache, version);
  await keepManifests(cache);
}

/** Brings what else is kept: files of other versions in this one, those without a version anew. @param {Cache} cache @param {string} [version] */
async function renew(cache, version) {
  for (const { url } of await cache.keys()) {
    const address = new URL(url).pathname;
    const [, older, path] = VERSIONED.exec(address) ?? [];
    const now = older ? `/static/${version}/${path}` : address;
    const isNew = older && (await cache.match(now));
    if (address.startsWith("/static/") && !isNew) await keepPage(cache, now);
  }
}

/** @param {Cache} cache @param {string} [version] */
async function forgetOthers(cache, version) {
  for (const { url } of await cache.keys()) {
    const [, older] = VERSIONED.exec(new URL(url).pathname) ?? [];
    if (older && older !== version) await cache.delete(url);
  }
}

/**
 * @param {Cache} cache
 * @param {string} address
 * @returns {Promise<string[]>} the addresses it refers to
 * @throws {Error} where it is no longer of the version that it is asked for in
 */
async function keepPage(cache, address) {
  const response = await fetch(address);
  if (!response.ok) return [];
  if (VERSIONED.test(address) && !neverChanges(response)) throw new Error(`${address} has changed meanwhile`);
  await cache.put(address, response.clone());
  return references(response, address);
}

/** @param {Response} response @param {string} address */
async function references(response, address) {
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
  const page = event.request.mode === "navigate";
  const key = page ? "/" : event.request.url;
  const copy = await cache.match(key);
  const network = fetch(event.request).then(async (response) => {
    // A page of another version is kept with everything that it needs, or not at all.
    if (page && response.ok && !sameEtag(response, copy)) event.waitUntil(keepShell(response.clone()).catch(warn));
    else if (response.ok) event.waitUntil(keep(cache, key, response));
    return response.status >= 500 && copy ? copy : response;
  });
  if (!copy) return network;
  event.waitUntil(network.catch(() => undefined));
  const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, copy));
  return Promise.race([network.catch(() => copy), patience]);
}

/** @param {Response} response @param {Response} [copy] */
function sameEtag(response, copy) {
  return response.headers.get("etag") === copy?.headers.get("etag");
}

/**
 * @param {FetchEvent} event whose answer never changes
 * @returns {Promise<Response>}
 */
async function copyFirst(event) {
  const cache = await caches.open(CACHE);
  const copy = await cache.match(event.request);
  if (copy) return copy;
  const response = await fetch(event.request);
  if (response.ok && neverChanges(response)) event.waitUntil(keep(cache, event.request, response));
  return response;
}

/** A server that has another version by now sends that, and says so. @param {Response} response */
function neverChanges(response) {
  return response.headers.get("cache-control")?.includes("immutable") ?? false;
}

/** Where storage is full, the page works without its copy. @param {Cache} cache @param {RequestInfo} key @param {Response} response */
async function keep(cache, key, response) {
  await cache.put(key, response.clone()).catch(warn);
}

/** @param {unknown} error */
function warn(error) {
  console.warn("The page keeps no copy for use without a network:", error);
}
