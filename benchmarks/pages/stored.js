/** Owns the local store of pages whose runtime keeps no files itself: the browser's Cache API. */

/** @param {string} url @returns {Promise<Uint8Array>} from the store; the first time over the network */
export async function stored(url) {
  const cache = await caches.open("bench");
  if (!(await cache.match(url))) await cache.add(url);
  const response = await cache.match(url);
  return new Uint8Array(await response.arrayBuffer());
}
