/** Owns what stands beside an answer's numbers: what was expected of them, and the offer to share both. */
import { runningError } from "../device/receipts.js";
import { listRuns, probeDevice, shareRun } from "../featherweight.js";
import { byId } from "./dom.js";
import { countOf, formatRate, formatSeconds } from "./format.js";

/** @typedef {import("../featherweight.js").Receipt} Receipt */

/** @type {Receipt | null} */
let current = null;

/** Wires the button; called once. */
export function setUpReceipt() {
  const button = byId("share-button", HTMLButtonElement);
  button.addEventListener("click", async () => {
    if (!current) return;
    button.disabled = true;
    try {
      await shareRun(current, await probeDevice({ measure: false }));
      button.textContent = "Shared, thank you";
    } catch (error) {
      button.disabled = false;
      button.textContent = "Share this measurement";
      byId("share-note", HTMLElement).textContent = error instanceof Error ? error.message : String(error);
    }
  });
}

/** @param {Receipt | null} receipt null: nothing was predicted, or the answer was too short to tell */
export function showReceipt(receipt) {
  byId("receipt", HTMLElement).hidden = receipt === null;
  if (receipt === null || receipt === current) return;
  current = receipt;
  const { predicted, measured, texts = 1, prompt_tokens: tokens } = receipt;
  const whole = measured.decode_tokens_per_s === null ? `${countOf(texts, "text")}, ${countOf(tokens, "token")}` : "First token";
  byId("receipt-text", HTMLElement).textContent = [
    compare("Writing", predicted.decode_tokens_per_s, measured.decode_tokens_per_s, (rate) => `${formatRate(rate)} tokens/s`),
    compare(whole, predicted.time_to_first_token_s, measured.time_to_first_token_s, formatSeconds),
  ]
    .filter(Boolean)
    .join(" ");
  byId("running-error", HTMLElement).textContent = describeRuns();
  const button = byId("share-button", HTMLButtonElement);
  button.disabled = false;
  button.hidden = receipt.revision === null;
  button.textContent = "Share this measurement";
}

/** How far off all predictions on this device were. */
function describeRuns() {
  const found = runningError(listRuns());
  if (!found || found.count < 2) return "";
  return `So far here: half of ${found.count} runs were at most ${Math.round(100 * found.median)} % off, ${found.inside} inside the stated range.`;
}

/**
 * The speed of an answer, with what was expected of it where something was.
 * @param {number} rate tokens a second
 * @param {Receipt | null} receipt of this answer
 */
export function rateBesideExpected(rate, receipt) {
  const expected = receipt?.predicted.decode_tokens_per_s?.expected;
  return `${formatRate(rate)} tokens/s${expected ? `, ${formatRate(expected)} expected` : ""}`;
}

/**
 * @param {string} name
 * @param {import("../device/prediction.js").Prediction | null} prediction
 * @param {number | null} measured
 * @param {(value: number) => string} format
 */
function compare(name, prediction, measured, format) {
  if (!prediction || measured === null) return "";
  const off = Math.round(100 * Math.abs(measured / prediction.expected - 1));
  return `${name}: ${format(measured)}, expected ${format(prediction.expected)} (${off} % off).`;
}
