/** The one reader of manifest.json: what it accepts, and what it refuses before a byte of the model is fetched. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";

import { loadManifest } from "../../static/manifest/load_manifest.js";
import { parseManifest } from "../../static/manifest/manifest.js";
import { describeModel, randomContents, sha256 } from "./delivery/shard_server.mjs";

const URL_OF_IT = "https://example.test/toy/resolve/main/manifest.json";
const CONTENTS = randomContents({ "onnx/model_q4.onnx": 100, "tokenizer.json": 5000, "onnx/model_q4.onnx_data": 3000 });
const GRAPH = "onnx/model_q4.onnx";

/** A valid manifest after `change`, parsed. */
function parse(change = () => {}) {
  const json = describeModel(CONTENTS, 1024);
  change(json);
  return parseManifest(JSON.stringify(json), URL_OF_IT);
}

const refused = (pattern) => (error) => {
  assert.equal(error.code, "bad_manifest", error.stack);
  assert.match(error.message, pattern);
  return true;
};

/** @type {import("node:http").Server[]} */
const servers = [];
afterEach(() => servers.splice(0).forEach((server) => server.close()));

/** Serves every path with this answer; returns the origin. */
async function serve(respond) {
  const server = createServer((request, response) => respond(response, request));
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}`;
}

test("a manifest with measured quality, as Python writes it, is read", () => {
  const text = readFileSync(new URL("../data/measured_manifest.json", import.meta.url), "utf8");
  assert.equal(Object.keys(JSON.parse(text).quality).length, 2);
  assert.equal(parseManifest(text, URL_OF_IT).variant("q4").dtype, "q4");
});

test("roundtrip: every field under its camelCase name", () => {
  const manifest = parse();
  assert.equal(manifest.chunkSize, 1024);
  assert.deepEqual(manifest.model.kvCache, { layers: 2, kvHeads: 1, headDim: 8 });
  assert.equal(manifest.model.contextLength, 128);
  assert.equal(manifest.model.pooling, null);
  const variant = manifest.variant("q4");
  assert.deepEqual(variant.files, Object.keys(CONTENTS));
  assert.deepEqual([variant.downloadBytes, variant.weightBytes, variant.largestTensorBytes], [8100, 8100, 4050]);
  assert.deepEqual(variant.cost, {
    perToken: { linear_4bit: { bytes: 100, macs: 200 } },
    steps: 4,
    kvBytesPerToken: 64,
    activationBytesPerToken: 128,
  });
  const file = manifest.files.get("tokenizer.json");
  assert.equal(file.url, "https://example.test/toy/resolve/main/tokenizer.json");
  assert.equal(file.sizeBytes, 5000);
  assert.equal(file.chunks.length, 5);
});

test("pooling and labels", () => {
  const { model } = parse((json) => {
    json.model.pooling = { mode: "mean", normalize: true, max_tokens: 256 };
    json.model.labels = ["NEGATIVE", "POSITIVE"];
  });
  assert.deepEqual(model.pooling, { mode: "mean", normalize: true, maxTokens: 256 });
  assert.deepEqual(model.labels, ["NEGATIVE", "POSITIVE"]);
});

test("encoder of an encoder-decoder", () => {
  assert.equal(parse().variant("q4").encoder, null);
  const change = (json) => {
    const [variant] = json.variants;
    variant.encoder = { graph: "tokenizer.json", shards: variant.shards, cost: variant.cost };
  };
  const { encoder, shards, cost } = parse(change).variant("q4");
  assert.deepEqual(encoder, { graph: "tokenizer.json", shards, cost });
  const other = (json) => {
    change(json);
    json.variants[0].encoder.graph = "onnx/none";
  };
  assert.throws(() => parse(other), refused(/needs "onnx\/none" but does not list it/));
});

test("unknown keys are ignored", () => {
  assert.ok(parse((json) => Object.assign(json, { later: 1 }) && Object.assign(json.variants[0], { later: [] })));
});

test("frozen", () => {
  const manifest = parse();
  for (const part of [manifest, manifest.model, manifest.variants, manifest.variants[0], manifest.files.get(GRAPH)]) {
    assert.ok(Object.isFrozen(part));
  }
});

test("file URLs stay below the manifest, whatever the names contain", () => {
  const odd = "a b/c#d?e%2f:f";
  const manifest = parse((json) => (json.files[odd] = json.files[GRAPH]));
  assert.equal(manifest.files.get(odd).url, "https://example.test/toy/resolve/main/a%20b/c%23d%3Fe%252f%3Af");
  const scheme = parse((json) => (json.files["https:evil.test"] = json.files[GRAPH]));
  assert.ok(scheme.files.get("https:evil.test").url.startsWith("https://example.test/toy/resolve/main/"));
});

test("unknown variant says which there are", () => {
  assert.throws(
    () => parse().variant("fp16"),
    (error) => error.code === "not_found" && /"fp16".*q4/.test(error.message),
  );
});

for (const path of ["../up", "/root", "a/../b", "a//b", "./a", "a\\b", ""]) {
  test(`rejects_path ${JSON.stringify(path)}`, () => {
    assert.throws(() => parse((json) => (json.files[path] = json.files[GRAPH])), refused(/relative path|non-empty/));
  });
}

for (const [defect, pattern, change] of [
  ["other_format", /format/, (json) => (json.format = "x")],
  ["later_version", /version is 2/, (json) => (json.version = 2)],
  ["zero_chunk_size", /chunk_size/, (json) => (json.chunk_size = 0)],
  ["absurd_chunk_size", /chunk_size/, (json) => (json.chunk_size = 1 << 30)],
  ["negative_size", /size_bytes/, (json) => (json.files[GRAPH].size_bytes = -1)],
  ["fractional_size", /size_bytes/, (json) => (json.files[GRAPH].size_bytes = 1.5)],
  ["size_as_text", /size_bytes/, (json) => (json.files[GRAPH].size_bytes = "100")],
  ["upper_case_hash", /64 lower-case/, (json) => (json.files[GRAPH].sha256 = "A".repeat(64))],
  ["short_hash", /64 lower-case/, (json) => (json.files["tokenizer.json"].chunks[2] = "ab")],
  ["missing_chunk", /must hold 5 hashes/, (json) => json.files["tokenizer.json"].chunks.pop()],
  ["extra_chunk", /must hold 5 hashes/, (json) => json.files["tokenizer.json"].chunks.push("0".repeat(64))],
  ["single_chunk_of_other_hash", /must equal sha256/, (json) => (json.files[GRAPH].chunks[0] = "0".repeat(64))],
  ["no_variants", /variants must not be empty/, (json) => (json.variants = [])],
  ["dtype_twice", /dtype twice/, (json) => json.variants.push(json.variants[0])],
  ["unlisted_file", /not in files/, (json) => json.variants[0].files.push("ghost")],
  ["file_twice", /file twice/, (json) => json.variants[0].files.push(GRAPH)],
  ["unlisted_shard", /does not list it/, (json) => json.variants[0].shards.push("ghost")],
  ["wrong_download_bytes", /sum of its files' sizes, 8100/, (json) => (json.variants[0].download_bytes += 1)],
  ["no_largest_tensor", /largest_tensor_bytes must be an integer/, (json) => delete json.variants[0].largest_tensor_bytes],
  ["tensor_larger_than_all", /at most weight_bytes, 8100/, (json) => (json.variants[0].largest_tensor_bytes = 8101)],
  ["missing_cost", /cost must be an object/, (json) => delete json.variants[0].cost],
  ["missing_model", /model must be an object/, (json) => delete json.model],
  ["files_as_list", /files must be an object/, (json) => (json.files = [])],
  ["labels_of_numbers", /labels\[0\]/, (json) => (json.model.labels = [1])],
]) {
  test(`rejects_${defect}`, () => assert.throws(() => parse(change), refused(pattern)));
}

test("rejects_no_json", () => {
  assert.throws(() => parseManifest("<!doctype html>", URL_OF_IT), refused(/not JSON/));
  assert.throws(() => parseManifest("[]", URL_OF_IT), refused(/object/));
});

test("loads from a server, and the bytes must have the hash that the address names", async () => {
  const text = JSON.stringify(describeModel(CONTENTS, 1024));
  const origin = await serve((response) => response.end(text));
  const revision = sha256(Buffer.from(text));
  assert.equal((await loadManifest(`${origin}/toy/resolve/main/manifest.json`)).model.id, "toy");
  assert.equal((await loadManifest(`${origin}/toy/resolve/${revision}/manifest.json`)).model.id, "toy");
  const other = `${origin}/toy/resolve/${"0".repeat(64)}/manifest.json`;
  await assert.rejects(loadManifest(other), (error) => error.code === "integrity" && error.message.includes(revision));
});

for (const [defect, code, respond] of [
  ["missing", "not_found", (response) => response.writeHead(404).end()],
  ["server_error", "network", (response) => response.writeHead(500).end()],
  ["web_page", "bad_manifest", (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<html>")],
  ["absurd_length", "bad_manifest", (response) => response.writeHead(200, { "Content-Length": 9 << 20 }).write(" ")],
  ["endless_body", "bad_manifest", (response) => response.end(Buffer.alloc(9 << 20, 32))],
  [
    "cut_body",
    "network",
    (response) => response.writeHead(200, { "Content-Length": 50 }).write("{", () => response.destroy()),
  ],
]) {
  test(`rejects_${defect} from a server`, async () => {
    const origin = await serve(respond);
    await assert.rejects(
      loadManifest(`${origin}/m/manifest.json`),
      (error) => error.code === code || assert.fail(error.stack),
    );
  });
}

test("rejects_unreachable_server", async () => {
  await assert.rejects(loadManifest("http://127.0.0.1:9/manifest.json"), (error) => error.code === "network");
});

test("abort", async () => {
  const origin = await serve(() => {});
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(
    loadManifest(`${origin}/manifest.json`, { signal: controller.signal }),
    (error) => error.code === "aborted",
  );
  servers.at(-1).closeAllConnections();
});
