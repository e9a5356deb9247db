/** Owns the page of shared measurements: fetches their digest and shows it as figures, plots and a table. */
import { drawAgreement, drawHistogram } from "./charts.js";
import { byId, make } from "./dom.js";
import { countOf, formatBytes, formatRate, formatSeconds } from "./format.js";

/**
 * @typedef {{p10: number, p50: number, p90: number} | null} Quantiles
 * @typedef {{count: number, median_error: number, p90_error: number, inside_interval: number} | null} Accuracy
 * @typedef {object} Group
 * @property {string} model
 * @property {string} dtype
 * @property {string} backend
 * @property {number} threads
 * @property {{platform: string, browser: string, cores: string, memory_gib: string, bandwidth_gb_per_s: string, wasm: string, isolated: boolean, gpu: string}} device
 * @property {number} count
 * @property {Quantiles} time_to_first_token_s
 * @property {Quantiles} decode_tokens_per_s
 * @property {Quantiles} prefill_tokens_per_s
 * @property {Quantiles} peak_memory_bytes
 * @typedef {{model: string, dtype: string, predicted: number, measured: number}} Point
 * @typedef {{count: number, groups: Group[], accuracy: Record<string, Accuracy>, points: Point[]}} Digest
 */

/** Metrics that a visitor cares for, in the order in which they come up. */
const METRICS = Object.freeze({
  load_s: "Loading",
  time_to_first_token_s: "First token",
  decode_tokens_per_s: "Speed of the answer",
  encode_s: "Reading of texts",
  peak_memory_bytes: "Memory",
});
const PLATFORMS = Object.freeze({ windows: "Windows", macos: "macOS", linux: "Linux", android: "Android", ios: "iOS", chromeos: "ChromeOS" });

show();

async function show() {
  const state = byId("state", HTMLElement);
  try {
    const response = await fetch("/api/measurements");
    if (!response.ok) throw new Error(`the server answered with status ${response.status}`);
    const digest = /** @type {Digest} */ (await response.json());
    state.textContent = digest.count === 0 ? "Nothing has been shared yet." : `${countOf(digest.count, "run")} so far.`;
    if (digest.count > 0) draw(digest);
  } catch (error) {
    state.textContent = `The measurements could not be loaded: ${error instanceof Error ? error.message : error}. Reload to try again.`;
  }
}

/** @param {Digest} digest */
function draw({ accuracy, groups, points }) {
  byId("measured", HTMLElement).hidden = false;
  for (const [metric, name] of Object.entries(METRICS)) byId("accuracy", HTMLElement).append(accuracyOf(name, accuracy[metric]));
  for (const group of groups) byId("groups", HTMLTableSectionElement).append(rowOf(group));
  drawAgreement(byId("plot-accuracy", HTMLElement), points);
  drawHistogram(byId("plot-distribution", HTMLElement), points.map(({ measured }) => measured));
}

/** @param {string} name @param {Accuracy} accuracy */
function accuracyOf(name, accuracy) {
  const root = make("div", "");
  root.append(make("dt", "", name), make("dd", "", accuracy ? `±${percent(accuracy.median_error)}` : "not known yet"));
  if (accuracy) {
    const inside = `${percent(accuracy.inside_interval)} of ${countOf(accuracy.count, "run")} inside the stated range`;
    root.append(make("dd", "", `nine in ten below ${percent(accuracy.p90_error)}; ${inside}`));
  }
  return root;
}

/** @param {Group} group */
function rowOf({ model, dtype, backend, threads, device, count, ...metrics }) {
  const row = make("tr", "");
  row.append(
    cell(model, dtype),
    cell(deviceName(device), deviceDetails(device)),
    cell(backend, countOf(threads, "thread")),
    cell(String(count), "", "number"),
    quantity(metrics.decode_tokens_per_s ?? metrics.prefill_tokens_per_s, formatRate),
    quantity(metrics.time_to_first_token_s, formatSeconds),
    quantity(metrics.peak_memory_bytes, formatBytes),
  );
  return row;
}

/** @param {Quantiles} quantiles @param {(value: number) => string} format */
function quantity(quantiles, format) {
  if (!quantiles) return cell("–", "", "number");
  return cell(format(quantiles.p50), `${format(quantiles.p10)} to ${format(quantiles.p90)}`, "number");
}

/** @param {string} text @param {string} details @param {string} [className] */
function cell(text, details, className = "") {
  const element = make("td", className, text);
  if (details) element.append(make("small", "", details));
  return element;
}

/** @param {Group["device"]} device */
function deviceName({ platform, cores, memory_gib: memory }) {
  const system = PLATFORMS[/** @type {keyof typeof PLATFORMS} */ (platform)] ?? "Other system";
  return `${system}, ${cores} ${cores === "1" ? "core" : "cores"}${memory === "unknown" ? "" : `, ${memory} GB`}`;
}

/** @param {Group["device"]} device */
function deviceDetails({ browser, bandwidth_gb_per_s: bandwidth, wasm, isolated, gpu }) {
  return [
    browser,
    bandwidth === "unknown" ? "" : `reads ${bandwidth} GB/s`,
    wasm === "relaxed_simd" ? "relaxed SIMD" : "",
    isolated ? "" : "not isolated",
    gpu === "none" ? "" : `${gpu} GPU`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** @param {number} share */
function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}
