/** Owns the list of models: fetched from the server, weighed one by one, and only one of them loading at a time. */
import { listModels } from "../featherweight.js";
import { byId } from "./dom.js";
import { ModelCard } from "./model_card.js";
import { showProblem } from "./problem.js";
import { sizePlot } from "./size_plot.js";
import { taskPlace } from "./wording.js";

/** @typedef {import("../featherweight.js").Device} Device */

export class ModelList {
  /** @type {ModelCard[]} */
  cards = [];
  #section = byId("models", HTMLElement);
  #list = byId("model-list", HTMLElement);
  #sort = byId("model-sort", HTMLSelectElement);
  #plot = sizePlot(byId("size-plot", HTMLElement));

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
      this.cards = rows.map((row) => new ModelCard(row, { ...this.actions, removed: (card) => this.#onRemoved(card) }));
      this.#order();
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
    /** @type {Record<string, (card: ModelCard) => number>} */
    const keys = { task: ({ row }) => taskPlace(row.task), download: downloadOf, speed: (card) => -(speedOf(card) ?? 0), memory: memoryOf };
    const key = keys[this.#sort.value];
    const sorted = [...this.cards].sort((a, b) => key(a) - key(b) || downloadOf(a) - downloadOf(b)).map(({ root }) => root);
    // Moving an element takes the focus from what is in it.
    if (sorted.some((root, at) => this.#list.children[at] !== root)) this.#list.replaceChildren(...sorted);
  }

  #drawPlot() {
    this.#order();
    const models = this.cards.flatMap((card) => {
      const speed = speedOf(card);
      if (speed === null) return [];
      return { name: card.row.name, bytes: downloadOf(card), speed, writes: card.verdict?.expected?.decode_tokens_per_s != null };
    });
    byId("size-plot-empty", HTMLElement).hidden = models.length > 0;
    if (models.length > 0) this.#plot.show(models);
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
