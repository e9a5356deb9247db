/** Owns the list of models: fetched from the server, weighed one by one, and only one of them loading at a time. */
import { listModels } from "../featherweight.js";
import { byId } from "./dom.js";
import { ModelCard } from "./model_card.js";
import { drawSizes } from "./charts.js";
import { showProblem } from "./problem.js";

/** @typedef {import("../featherweight.js").Device} Device */

export class ModelList {
  /** @type {ModelCard[]} */
  cards = [];
  #section = byId("models", HTMLElement);
  #list = byId("model-list", HTMLElement);
  #sort = byId("model-sort", HTMLSelectElement);

  /** @param {{open: (card: ModelCard) => void, cancel: () => void, removed: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
    this.#sort.addEventListener("change", () => this.#order());
  }

  /**
   * @param {Promise<Device>} device
   * @returns {Promise<boolean>} whether there is a list now
   */
  async fetch(device) {
    this.#section.setAttribute("aria-busy", "true");
    try {
      const rows = await listModels();
      rows.sort((a, b) => Number(b.task === "text-generation") - Number(a.task === "text-generation"));
      this.cards = rows.map((row) => new ModelCard(row, { ...this.actions, removed: (card) => this.#onRemoved(card) }));
      this.#list.replaceChildren(...this.cards.map((card) => card.root));
      if (rows.length === 0) throw new Error("The server offers no models yet: convert one with `featherweight convert`.");
    } catch (error) {
      showProblem(byId("models-problem", HTMLElement), error, () => this.fetch(device));
      return false;
    } finally {
      this.#section.setAttribute("aria-busy", "false");
    }
    this.weigh(device);
    return true;
  }

  /** @param {Promise<Device>} device */
  async weigh(device) {
    await Promise.all(this.cards.map((card) => card.weigh(device)));
    this.#drawPlot();
  }

  /** Puts the cards in the order that was chosen; what is not known yet comes last. */
  #order() {
    const keys = { task: () => 0, download: downloadOf, speed: (/** @type {ModelCard} */ card) => -(speedOf(card) ?? 0), memory: memoryOf };
    const key = keys[/** @type {keyof typeof keys} */ (this.#sort.value)];
    const sorted = [...this.cards].sort((a, b) => key(a) - key(b));
    this.#list.replaceChildren(...sorted.map((card) => card.root));
  }

  #drawPlot() {
    this.#order();
    const points = this.cards.flatMap((card) => {
      const speed = speedOf(card);
      return speed === null ? [] : [{ name: card.row.name, bytes: downloadOf(card), speed }];
    });
    const panel = byId("size-plot-panel", HTMLDetailsElement);
    panel.hidden = points.length === 0;
    if (points.length > 0) drawSizes(byId("size-plot", HTMLElement), points);
  }

  /** @param {string | null} id */
  find(id) {
    return this.cards.find((card) => card.row.id === id) ?? null;
  }

  /** @param {ModelCard | null} loading null: none */
  setLoading(loading) {
    for (const card of this.cards) card.setBusy(loading !== null && card !== loading);
  }

  /**
   * All models share the storage.
   * @param {ModelCard} changed
   */
  #onRemoved(changed) {
    this.actions.removed();
    for (const card of this.cards) if (card !== changed) card.weigh();
  }
}

/** @param {ModelCard} card */
function downloadOf(card) {
  return card.variant.download_bytes;
}

/** @param {ModelCard} card */
function memoryOf(card) {
  return card.verdict?.memory.need ?? Infinity;
}

/** Tokens a second: of the answer, or for encoders of the text. @param {ModelCard} card */
function speedOf(card) {
  const expected = card.verdict?.expected;
  return expected?.decode_tokens_per_s ?? expected?.prefill_tokens_per_s ?? null;
}
