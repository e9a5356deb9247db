/** Owns what stands beside an answer's numbers: what was expected of them, and the offer to share both. */
import { probeDevice, shareRun } from "../featherweight.js";
import { byId } from "./dom.js";
import { formatRate, formatSeconds } from "./format.js";

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
  const { predicted, measured } = receipt;
  byId("receipt-text", HTMLElement).textContent = [
    compare("Writing", predicted.decode_tokens_per_s, measured.decode_tokens_per_s, (rate) => `${formatRate(rate)} tokens/s`),
    compare("First token", predicted.time_to_first_token_s, measured.time_to_first_token_s, formatSeconds),
  ]
    .filter(Boolean)
    .join(" ");
  const button = byId("share-button", HTMLButtonElement);
  button.disabled = false;
  button.hidden = receipt.revision === null;
  button.textContent = "Share this measurement";
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
