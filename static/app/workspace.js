/** Owns the view of a running model: its name, what can be done with it, its numbers. */
import { byId } from "./dom.js";
import { setUpReceipt, showReceipt } from "./receipt_panel.js";
import { chooseStatistics, showStatistics } from "./statistics.js";
import { showTabs } from "./tabs.js";
import { chat } from "./views/chat.js";
import { viewsOf } from "./views/views.js";
import { backendPlace, taskName } from "./wording.js";

/** @typedef {Awaited<ReturnType<typeof import("../featherweight.js").loadModel>>} Model */

const WIDE = matchMedia("(min-width: 60rem)");

export class Workspace {
  /** Of the running model. @type {import("./views/views.js").View[]} */
  #views = [];

  /** @param {{reload: () => void}} actions loads the model again after it died */
  constructor(actions) {
    this.actions = actions;
    setUpReceipt();
    const panels = [byId("statistics-panel", HTMLDetailsElement), byId("settings-panel", HTMLDetailsElement)];
    const openPanels = () => panels.forEach((panel) => (panel.open = WIDE.matches));
    WIDE.addEventListener("change", openPanels);
    openPanels();
  }

  /** @param {Model} model */
  open(model) {
    this.#views = viewsOf(model);
    const generates = this.#views.some((view) => view.generates);
    const chats = this.#views.includes(chat);
    document.title = `${model.name} · Featherweight`;
    byId("workspace-title", HTMLElement).textContent = model.name;
    byId("workspace-variant", HTMLElement).textContent = `${model.dtype}, ${backendPlace(model.backend)}`;
    byId("settings-panel", HTMLElement).hidden = !generates;
    byId("system-prompt-field", HTMLElement).hidden = !chats;
    byId("new-chat", HTMLElement).hidden = !chats;
    chooseStatistics(generates);
    showStatistics(model.stats);
    showReceipt(model.receipt);

    showTabs(byId("view-tabs", HTMLElement), this.#views);
    const unknown = byId("no-view", HTMLElement);
    unknown.hidden = this.#views.length > 0;
    unknown.textContent = `This page has no view for "${taskName(model.task)}" yet; the browser module can run it.`;
    const shown = byId("views", HTMLElement);
    shown.replaceChildren(...this.#views.map(({ root }) => root));
    byId("workspace-title", HTMLElement).focus({ preventScroll: true });
    for (const view of this.#views) view.open(model, this.actions);
  }

  /** Stops what runs; the model stays. */
  pause() {
    for (const view of this.#views) view.stop();
  }
}
