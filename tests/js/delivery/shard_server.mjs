/** Owns a real HTTP server on loopback that serves a made-up model directory, and misbehaves on demand. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

import { parseManifest } from "../../../static/manifest/manifest.js";

/** @param {Buffer} bytes */
export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** manifest.json's object for these contents: one variant "q4" with every file, the last ones as shards. */
export function describeModel(contents, chunkSize) {
  const files = {};
  for (const [path, bytes] of Object.entries(contents)) {
    const chunks = [];
    for (let at = 0; at < bytes.length; at += chunkSize) chunks.push(sha256(bytes.subarray(at, at + chunkSize)));
    files[path] = { size_bytes: bytes.length, sha256: sha256(bytes), chunks };
  }
  const paths = Object.keys(contents);
  const downloadBytes = [...new Set(Object.values(contents))].reduce((sum, bytes) => sum + bytes.length, 0);
  const cost = {
    per_token: { linear_4bit: { bytes: 100, macs: 200 } },
    steps: 4,
    kv_bytes_per_token: 64,
    activation_bytes_per_token: 128,
  };
  const variant = {
    dtype: "q4",
    block_size: 32,
    lossless_import: true,
    graph: paths[0],
    shards: paths.slice(1),
    files: paths,
    download_bytes: downloadBytes,
    weight_bytes: downloadBytes,
    largest_tensor_bytes: Math.floor(downloadBytes / 2),
    cost,
  };
  const model = {
    id: "toy",
    name: "Toy",
    family: "llama",
    task: "text-generation",
    parameters: 1000,
    license: "apache-2.0",
    context_length: 128,
    vocab_size: 300,
    pooling: null,
    labels: null,
    kv_cache: { layers: 2, kv_heads: 1, head_dim: 8 },
  };
  return {
    format: "featherweight-manifest",
    version: 1,
    chunk_size: chunkSize,
    model,
    source: { kind: "directory", name: "toy", revision: "sha256:0" },
    converter: { name: "featherweight", version: "0.1.0" },
    files,
    variants: [variant],
    quality: {},
  };
}

/**
 * What the server does wrong with one request: nothing, or one of `{status, headers, body}` another answer; `{flip:
 * offset}` a byte changed at this offset of the file; `{cutAfter: n}` the connection destroyed after n body bytes;
 * `{stallAfter: n}` silence after n body bytes; `{ignoreRange: true}` 200 with the whole file; `{length: n}` a file
 * that is really n bytes long; `{chunked: true}` no Content-Length.
 * @typedef {Record<string, any>} Fault
 */

/**
 * Serves `contents` under /model/, with a manifest. `misbehave({path, start, end, count})` is asked for each request;
 * count is the number of requests for that path before.
 */
export async function startShardServer(contents, { chunkSize = 1 << 16, misbehave = () => undefined } = {}) {
  const requests = [];
  const state = { misbehave, requests, maxParallel: 0 };
  let parallel = 0;
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url.replace(/^\/model\//, ""));
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const count = requests.filter((known) => known.path === path).length;
    const asked = { path, start: range ? Number(range[1]) : 0, end: range ? Number(range[2]) + 1 : null, count };
    requests.push({ ...asked, cacheControl: request.headers["cache-control"] });
    state.maxParallel = Math.max(state.maxParallel, ++parallel);
    response.on("close", () => parallel--);
    answer(response, contents[path], asked, state.misbehave(asked) ?? {}).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}/model/manifest.json`;
  const manifest = parseManifest(JSON.stringify(describeModel(contents, chunkSize)), url);
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return Object.assign(state, { manifest, url, close, paths: Object.keys(contents) });
}

async function answer(response, content, { start, end }, fault) {
  if (fault.delayMs) await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
  if (fault.status !== undefined) {
    response.writeHead(fault.status, fault.headers ?? {});
    response.end(fault.body ?? "");
    return;
  }
  if (!content) {
    response.writeHead(404).end();
    return;
  }
  let bytes = Buffer.from(content);
  if (fault.flip !== undefined) bytes[fault.flip] ^= 1;
  if (fault.length !== undefined) bytes = Buffer.concat([bytes, Buffer.alloc(fault.length)]).subarray(0, fault.length);
  const ranged = end !== null && !fault.ignoreRange;
  const total = bytes.length;
  if (ranged && start >= total) {
    response.writeHead(416, { "Content-Range": `bytes */${total}` }).end();
    return;
  }
  const body = ranged ? bytes.subarray(start, end) : bytes;
  const headers = { "Content-Type": "application/octet-stream" };
  if (!fault.chunked) headers["Content-Length"] = body.length;
  if (ranged) headers["Content-Range"] = `bytes ${start}-${start + body.length - 1}/${total}`;
  response.writeHead(ranged ? 206 : 200, headers);
  const sent = Math.min(body.length, fault.cutAfter ?? fault.stallAfter ?? body.length);
  if (sent > 0) await new Promise((resolve) => response.write(body.subarray(0, sent), resolve));
  if (fault.cutAfter !== undefined) response.destroy();
  else if (fault.stallAfter === undefined) response.end();
}

/** Random content: every chunk differs. @param {Record<string, number>} sizes */
export function randomContents(sizes) {
  return Object.fromEntries(Object.entries(sizes).map(([path, size]) => [path, randomBytes(size)]));
}
