/** Owns the view of a running model: its name, the task it is for, its numbers. */
import { newChat, openChat, setUpChat, stopAnswer } from "./chat.js";
import { offerLabels, setUpClassify } from "./classify.js";
import { byId } from "./dom.js";
import { forgetVectors, setUpSearch } from "./search.js";
import { chooseStatistics, showStatistics } from "./statistics.js";
import { setUpTabs } from "./tabs.js";
import { backendPlace } from "./wording.js";

/** @typedef {Awaited<ReturnType<typeof import("../featherweight.js").loadModel>>} Model */

const WIDE = matchMedia("(min-width: 60rem)");

export class Workspace {
  #search = setUpSearch();
  #classify = setUpClassify();
  #tabs = setUpTabs(byId("encoder-tabs", HTMLElement));

  /** @param {{reload: () => void}} actions loads the model again after it died */
  constructor(actions) {
    this.actions = actions;
    setUpChat();
    byId("new-chat", HTMLButtonElement).addEventListener("click", newChat);
    const panels = [byId("statistics-panel", HTMLDetailsElement), byId("settings-panel", HTMLDetailsElement)];
    const openPanels = () => panels.forEach((panel) => (panel.open = WIDE.matches));
    WIDE.addEventListener("change", openPanels);
    openPanels();
  }

  /** @param {Model} model */
  open(model) {
    const generates = model.task === "text-generation";
    document.title = `${model.name} · Featherweight`;
    byId("workspace-title", HTMLElement).textContent = model.name;
    byId("workspace-variant", HTMLElement).textContent = `${model.dtype}, ${backendPlace(model.backend)}`;
    byId("chat", HTMLElement).hidden = !generates;
    byId("encoder", HTMLElement).hidden = generates;
    byId("settings-panel", HTMLElement).hidden = !generates;
    byId("new-chat", HTMLElement).hidden = !generates;
    chooseStatistics(generates);
    showStatistics(model.stats);
    if (generates) {
      openChat(model, this.actions);
      return;
    }
    forgetVectors();
    const hasHead = model.labels !== null;
    byId("encoder-tabs", HTMLElement).hidden = hasHead;
    this.#tabs.select(hasHead ? "classify-tab" : "search-tab");
    offerLabels(model);
    this.#search.open(model);
    this.#classify.open(model);
    byId("workspace-title", HTMLElement).focus({ preventScroll: true });
  }

  /** Stops what runs; the model stays. */
  pause() {
    stopAnswer();
    this.#search.stop();
    this.#classify.stop();
  }
}
