/** Times backends on the same files, in turns, inside one browser worker; engine_peers.py starts it and keeps the result. */

import { ortWasm } from "/static/backends/ort.js";
import { wasm } from "/static/backends/wasm.js";
import { loadManifest } from "/static/manifest/manifest.js";

const BACKENDS = { wasm, "ort-wasm": ortWasm };
const PROMPT_TOKENS = 128;
const DECODED_TOKENS = 16;
const ENCODER_POINTS = [[1, 16], [1, 128], [8, 128]];
/** A browser's compilers reach their best code only after a while. */
const WARM_UP_MS = 2000;

const now = () => performance.now();

/** @param {() => Promise<unknown>} action @returns {Promise<number>} milliseconds */
async function timed(action) {
  const start = now();
  await action();
  return now() - start;
}

async function decoderSample(session) {
  await session.reset();
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, at) => 1000 + ((at * 37) % 20000));
  const prefill = await timed(() => session.prefill(prompt));
  const decode = await timed(async () => {
    for (let token = 0; token < DECODED_TOKENS; token++) await session.decode(2000 + token);
  });
  return { prefill_tokens_per_s: (1000 * PROMPT_TOKENS) / prefill, decode_tokens_per_s: (1000 * DECODED_TOKENS) / decode };
}

async function encoderSample(session) {
  const sample = {};
  for (const [batch, tokens] of ENCODER_POINTS) {
    const inputIds = Array.from({ length: batch }, (_, row) => Array.from({ length: tokens }, (_, at) => 1000 + row + at));
    const attentionMask = inputIds.map((row) => row.map(() => 1));
    sample[`encode_${batch}x${tokens}_ms`] = await timed(() => session.encode({ inputIds, attentionMask }));
  }
  return sample;
}

/** Load one variant on one backend; returns what to time. */
async function open(name, manifestUrl, dtype, threads) {
  const manifest = await loadManifest(manifestUrl, {});
  const variant = manifest.variant(dtype);
  const readFile = async (path) => new Uint8Array(await (await fetch(manifest.files.get(path).url)).arrayBuffer());
  const start = now();
  const session = await BACKENDS[name].load({ manifest, variant, readFile }, { threads, contextLength: 1024 });
  const sample = session.kind === "decoder" ? decoderSample : encoderSample;
  return { label: `${name} ${dtype}`, load_ms: now() - start, session, sample };
}

self.onmessage = async ({ data: { manifestUrl, contenders, threads, rounds } }) => {
  try {
    const opened = [];
    for (const [backend, dtype] of contenders) {
      const contender = await open(backend, manifestUrl, dtype, threads);
      const until = now() + WARM_UP_MS;
      while (now() < until) await contender.sample(contender.session);
      opened.push({ ...contender, samples: [] });
    }
    for (let round = 0; round < rounds; round++) {
      for (const contender of opened) contender.samples.push(await contender.sample(contender.session));
    }
    self.postMessage({
      isolated: self.crossOriginIsolated,
      rows: opened.map(({ label, load_ms, session, samples }) => ({
        label,
        load_ms,
        memory_bytes: session.memoryBytes(),
        threads: session.threads,
        samples,
      })),
    });
  } catch (error) {
    self.postMessage({ error: String(error?.stack ?? error) });
  }
};
