/** Owns the live numbers of the running model. */
import { byId } from "./dom.js";
import { formatBytes, formatRate, formatSeconds } from "./format.js";
import { backendName } from "./wording.js";

/** @typedef {import("../featherweight.js").Stats} Stats */

const UNKNOWN = "–";

/** @type {Record<string, (value: any) => string>} */
const FORMATS = {
  time_to_first_token_s: formatSeconds,
  prefill_tokens_per_s: (rate) => `${formatRate(rate)} tokens/s`,
  decode_tokens_per_s: (rate) => `${formatRate(rate)} tokens/s`,
  load_s: formatSeconds,
  download_bytes: (bytes) => (bytes === 0 ? "0, all was here" : formatBytes(bytes)),
  peak_memory_bytes: formatBytes,
  backend: backendName,
  threads: String,
};

/** @param {boolean} generates whether the rows of text generation are wanted, or those of encoders */
export function chooseStatistics(generates) {
  const kind = generates ? "text-generation" : "encoder";
  for (const row of byId("statistics", HTMLElement).querySelectorAll("[data-for]")) {
    if (row instanceof HTMLElement) row.hidden = row.dataset.for !== kind;
  }
  setStatistic("last_run", UNKNOWN);
}

/** @param {Stats} stats */
export function showStatistics(stats) {
  for (const [name, format] of Object.entries(FORMATS)) {
    const value = stats[/** @type {keyof Stats} */ (name)];
    setStatistic(name, value === null || value === undefined ? UNKNOWN : format(value));
  }
}

/**
 * @param {number} texts
 * @param {number} seconds
 */
export function showEncoderRun(texts, seconds) {
  setStatistic("last_run", `${texts} in ${formatSeconds(seconds)}`);
}

/**
 * @param {string} name
 * @param {string} text
 */
function setStatistic(name, text) {
  const cell = byId("statistics", HTMLElement).querySelector(`[data-stat="${name}"]`);
  if (cell && cell.textContent !== text) cell.textContent = text;
}
