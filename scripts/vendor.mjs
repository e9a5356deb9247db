// Copies the browser files of the npm dependencies into static/vendor, so that pages load them from our own origin.
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const FILES = [
  ["onnxruntime-web/dist/ort.wasm.min.mjs", "onnxruntime-web/ort.wasm.min.mjs"],
  ["onnxruntime-web/dist/ort-wasm-simd-threaded.mjs", "onnxruntime-web/ort-wasm-simd-threaded.mjs"],
  ["onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", "onnxruntime-web/ort-wasm-simd-threaded.wasm"],
  ["onnxruntime-web/dist/ort.webgpu.min.mjs", "onnxruntime-web/ort.webgpu.min.mjs"],
  ["onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs", "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs"],
  ["onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm", "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm"],
  ["@huggingface/tokenizers/dist/tokenizers.min.mjs", "huggingface/tokenizers.mjs"],
  ["@huggingface/jinja/dist/index.js", "huggingface/jinja.js"],
  ["uplot/dist/uPlot.esm.js", "uplot/uplot.mjs"],
  ["uplot/dist/uPlot.min.css", "uplot/uplot.css"],
];
// Where tsc finds the types of a copied file.
const TYPES = {
  "huggingface/tokenizers.d.mts": "@huggingface/tokenizers",
  "huggingface/jinja.d.ts": "@huggingface/jinja",
  "uplot/uplot.d.mts": "uplot",
  "onnxruntime-web/ort.wasm.min.d.mts": "onnxruntime-web/wasm",
  "onnxruntime-web/ort.webgpu.min.d.mts": "onnxruntime-web/webgpu",
};

await rm(join(root, "static/vendor"), { recursive: true, force: true });
for (const [from, to] of FILES) {
  const target = join(root, "static/vendor", to);
  await mkdir(dirname(target), { recursive: true });
  await cp(join(root, "node_modules", from), target);
}
for (const [name, source] of Object.entries(TYPES)) {
  const standard = source === "uplot" ? `export { default } from "${source}";\n` : "";
  await writeFile(join(root, "static/vendor", name), `${standard}export * from "${source}";\n`);
}
console.log(`static/vendor: ${FILES.length} files`);
