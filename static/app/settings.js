/** Owns the two forms of settings: how models run and how they generate; both are kept for the next visit. */
import { byId } from "./dom.js";
import { recall, remember } from "../local_storage.js";

/**
 * @typedef {object} GenerationSettings
 * @property {string} systemPrompt
 * @property {number} temperature
 * @property {number} topK 0: off
 * @property {number} topP
 * @property {number} minP 0: off
 * @property {number} maxNewTokens
 * @property {number} [seed] absent: another one each time
 */

/** Fills both forms with what was kept, and keeps what changes. */
export function restoreSettings() {
  for (const id of ["generation-settings", "run-settings"]) {
    const form = byId(id, HTMLFormElement);
    fill(form, recall(id));
    form.addEventListener("input", () => remember(id, Object.fromEntries(new FormData(form))));
    form.addEventListener("reset", () => remember(id, undefined));
    form.addEventListener("submit", (event) => event.preventDefault());
  }
}

/**
 * The settings of the next answer, or null after the wrong field was shown to the reader.
 * @returns {GenerationSettings | null}
 */
export function generationSettings() {
  const form = byId("generation-settings", HTMLFormElement);
  if (!form.checkValidity()) {
    byId("settings-panel", HTMLDetailsElement).open = true;
    form.reportValidity();
    return null;
  }
  const fields = new FormData(form);
  const seed = String(fields.get("seed") ?? "");
  return {
    systemPrompt: String(fields.get("systemPrompt") ?? "").trim(),
    temperature: Number(fields.get("temperature")),
    topK: Number(fields.get("topK")),
    topP: Number(fields.get("topP")),
    minP: Number(fields.get("minP")),
    maxNewTokens: Number(fields.get("maxNewTokens")),
    ...(seed === "" ? {} : { seed: Number(seed) }),
  };
}

/** @returns {{backend: string, threads: number | undefined}} */
export function runSettings() {
  const fields = new FormData(byId("run-settings", HTMLFormElement));
  const threads = Number(fields.get("threads"));
  return { backend: String(fields.get("backend") ?? "auto"), threads: threads >= 1 ? Math.floor(threads) : undefined };
}

/**
 * @param {HTMLFormElement} form
 * @param {unknown} values
 */
function fill(form, values) {
  if (typeof values !== "object" || values === null) return;
  for (const [name, value] of Object.entries(values)) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement || field instanceof HTMLSelectElement) {
      const before = field.value;
      field.value = String(value);
      if (!field.checkValidity() || field.value !== String(value)) field.value = before;
    }
  }
}
