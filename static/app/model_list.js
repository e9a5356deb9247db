/** Owns the list of models: fetched from the server, weighed one by one, and only one of them loading at a time. */
import { listModels } from "../featherweight.js";
import { byId } from "./dom.js";
import { ModelCard } from "./model_card.js";
import { showProblem } from "./problem.js";

/** @typedef {import("../featherweight.js").Device} Device */

export class ModelList {
  /** @type {ModelCard[]} */
  cards = [];
  #section = byId("models", HTMLElement);
  #list = byId("model-list", HTMLElement);

  /** @param {{open: (card: ModelCard) => void, cancel: () => void, removed: () => void}} actions */
  constructor(actions) {
    this.actions = actions;
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
    for (const card of this.cards) card.weigh(device);
    return true;
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
