/** Owns the one progress bar of a load: bytes of the total, rate and time left, from the first chunk to a running model. */
import { announce } from "./announcer.js";
import { make } from "./dom.js";
import { formatBytes, formatPart, formatTimeLeft } from "./format.js";
import { progressScale } from "./scale.js";

/** @typedef {import("../featherweight.js").LoadProgress} LoadProgress */

const ANNOUNCED_STEP = 0.25;

/**
 * @param {HTMLElement} root emptied, then filled
 * @param {string} modelName
 * @returns {{start: (presentBytes: number, totalBytes: number) => void, update: (progress: LoadProgress) => void}}
 */
export function downloadPanel(root, modelName) {
  const beam = progressScale();
  const bar = make("div", "progress");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", `Loading ${modelName}`);
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.dataset.testid = "progress";
  bar.append(beam.root);
  const bytes = make("span", "progress-bytes");
  const pace = make("span", "progress-pace");
  const line = make("p", "progress-line");
  line.append(bytes, pace);
  root.replaceChildren(bar, line);
  let announced = 0;

  /**
   * @param {number} share
   * @param {string} text
   * @param {string} paceText
   */
  function draw(share, text, paceText) {
    beam.set(share);
    beam.needleLabel.textContent = `${Math.floor(share * 100)} %`;
    bytes.textContent = text;
    pace.textContent = paceText;
    bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    bar.setAttribute("aria-valuetext", paceText ? `${text}, ${paceText}` : text);
  }

  return {
    start(presentBytes, totalBytes) {
      announced = 0;
      bar.classList.remove("progress-compiling");
      const share = totalBytes > 0 ? presentBytes / totalBytes : 0;
      draw(share, presentBytes > 0 ? formatPart(presentBytes, totalBytes) : `0 of ${formatBytes(totalBytes)}`, "asking the server…");
    },
    update(progress) {
      const { phase, loadedBytes, totalBytes } = progress;
      bar.classList.toggle("progress-compiling", phase === "compile");
      if (phase !== "download") {
        draw(1, `${formatBytes(totalBytes)} here and verified`, phase === "compile" ? "making it ready…" : "ready");
        if (announced < 2) announce(`${modelName} is downloaded and verified. Making it ready.`);
        announced = 2;
        return;
      }
      const share = totalBytes > 0 ? loadedBytes / totalBytes : 0;
      draw(share, formatPart(loadedBytes, totalBytes), paceOf(progress));
      if (share >= announced + ANNOUNCED_STEP && share < 1) {
        announced = Math.floor(share / ANNOUNCED_STEP) * ANNOUNCED_STEP;
        announce(`${modelName}: ${formatPart(loadedBytes, totalBytes)}, ${paceOf(progress)}`);
      }
    },
  };
}

/** @param {LoadProgress} progress */
function paceOf({ bytesPerSecond, secondsLeft, networkBytes }) {
  if (bytesPerSecond === null || networkBytes === 0) return "checking what is here…";
  const rate = `${formatBytes(bytesPerSecond)}/s`;
  return secondsLeft === null ? rate : `${rate}, ${formatTimeLeft(secondsLeft)}`;
}
