/** Owns how a failure is shown: what happened, what to do, and one button that tries again. */
import { FeatherweightError } from "../errors.js";
import { find, fromTemplate } from "./dom.js";

/**
 * @typedef {object} Advice
 * @property {string} title what happened
 * @property {string} advice what to do
 * @property {string} [action] the word on the button
 */

/** @type {Record<string, Advice>} */
const ADVICE = {
  integrity: {
    title: "A piece arrived damaged, twice.",
    advice: "It was thrown away; the rest is kept. If it happens again, the server's copy is damaged.",
  },
  quota: {
    title: "There is too little room for this model.",
    advice: "Remove another model, free some space, or leave private browsing.",
  },
  network: {
    title: "The server cannot be reached.",
    advice: "What has arrived is kept. Check the network, then continue.",
    action: "Continue",
  },
  unsupported: {
    title: "This browser cannot run this model.",
    advice: "Choose another variant or another way to run it, or a current browser.",
  },
  out_of_memory: {
    title: "There was not enough memory.",
    advice: "Close other tabs, or choose a smaller variant. The download is kept.",
  },
  device_lost: {
    title: "The graphics processor stopped answering.",
    advice: "Load the model again, or run it on the processor instead.",
    action: "Load again",
  },
  too_long: {
    title: "This conversation has become longer than the model can read.",
    advice: "Start a new chat, or go on with a shorter message.",
    action: "New chat",
  },
  bad_manifest: {
    title: "The server's description of this model is wrong.",
    advice: "Nothing was downloaded. The model has to be converted anew.",
  },
  not_found: {
    title: "The server no longer has this variant.",
    advice: "Reload the page and choose again.",
  },
  store: {
    title: "The browser's storage cannot be used.",
    advice: "Close other tabs of this page, or allow the site to store data.",
  },
};

/** @type {Advice} */
const OFFLINE = {
  title: "This device is offline.",
  advice: "Models that are here work. For this one, connect first; what has arrived is kept.",
};

/**
 * What is said after a tab died.
 * @param {string} next what the next try does otherwise
 * @returns {Advice}
 */
export function unfinished(next) {
  return { title: "Opening this did not finish last time.", advice: `The tab may have run out of memory. ${next} Closing other tabs helps too.` };
}

/** @type {Advice} */
export const TEXT_TOO_LONG = { title: "This text is longer than the model can read.", advice: "Shorten it, and try again." };

/** @type {Advice} */
const UNKNOWN = { title: "Something went wrong.", advice: "Try again. If it comes back, reload the page." };

/** @param {unknown} error */
export function errorCode(error) {
  if (error instanceof FeatherweightError) return error.code;
  return error instanceof Error && error.name === "AbortError" ? "aborted" : "unknown";
}

/**
 * Whether the model itself is gone, so that trying again means loading it again.
 * @param {unknown} error
 */
export function isDead(error) {
  return ["device_lost", "out_of_memory"].includes(errorCode(error));
}

/**
 * Whether the model refused a conversation or a text because of its length.
 * @param {unknown} error
 */
export function isTooLong(error) {
  return error instanceof FeatherweightError && "context_length" in error.details;
}

/** @param {unknown} error */
export function isAbort(error) {
  return errorCode(error) === "aborted";
}

/**
 * Fills `slot` with the problem; the slot is emptied when the button is pressed, and then `retry` runs.
 * @param {HTMLElement} slot
 * @param {unknown} error
 * @param {() => void} retry
 */
export function showProblem(slot, error, retry) {
  const code = errorCode(error);
  const offline = code === "network" && !navigator.onLine;
  const advice = offline ? OFFLINE : (ADVICE[isTooLong(error) ? "too_long" : code] ?? UNKNOWN);
  showAdvice(slot, advice, detailsOf(error), retry);
}

/** What happened, for those who look closer. @param {unknown} error */
export function detailsOf(error) {
  return `${errorCode(error)}: ${error instanceof Error ? error.message : String(error)}`;
}

/**
 * @param {HTMLElement} slot
 * @param {Advice} words
 * @param {string} details for those who look closer
 * @param {() => void} retry
 */
export function showAdvice(slot, { title, advice, action = "Try again" }, details, retry) {
  const panel = fromTemplate("problem-template");
  find(panel, ".problem-title", HTMLElement).textContent = title;
  find(panel, ".problem-advice", HTMLElement).textContent = advice;
  find(panel, ".problem-details p", HTMLElement).textContent = details;
  const button = find(panel, ".retry", HTMLButtonElement);
  button.textContent = action;
  button.addEventListener("click", () => {
    clearProblem(slot);
    retry();
  });
  slot.replaceChildren(panel);
}

/** @param {HTMLElement} slot */
export function clearProblem(slot) {
  slot.replaceChildren();
}
