/** Owns what the weigh-in expects of our engine before it loads a model: from a fresh probe and the manifest. */

import { fit, probeDevice } from "/static/featherweight.js";

/** Milliseconds per token after so many others. @returns {Promise<Record<string, number>>} by length */
export async function decodeAtContexts({ manifest, dtype, threads, lengths }) {
  const device = await probeDevice({ fresh: true });
  const found = {};
  for (const length of lengths) {
    const { expected } = await fit(manifest, { device, dtype, threads, promptTokens: length, backend: "wasm" });
    found[length] = 1000 / expected.decode_tokens_per_s;
  }
  return found;
}
