/** Owns a tab list: one tab selected, its panel shown, arrow keys between them. */
import { make } from "./dom.js";

/** @typedef {{name: string, title: string, root: HTMLElement}} Panel */

/**
 * Makes a tab for each panel; one panel alone needs none.
 * @param {HTMLElement} list with role=tablist
 * @param {Panel[]} panels the first one is shown
 */
export function showTabs(list, panels) {
  list.hidden = panels.length < 2;
  if (list.hidden) {
    list.replaceChildren();
    for (const { root } of panels) {
      root.hidden = false;
      root.removeAttribute("role");
      root.removeAttribute("aria-labelledby");
    }
    return;
  }
  const tabs = panels.map(makeTab);
  /** @param {number} chosen */
  const select = (chosen) => {
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === chosen));
      tab.tabIndex = at === chosen ? 0 : -1;
      panels[at].root.hidden = at !== chosen;
    });
  };
  tabs.forEach((tab, at) => tab.addEventListener("click", () => select(at)));
  list.onkeydown = (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const at = tabs.findIndex((tab) => tab === document.activeElement);
    if (at < 0 || step === 0) return;
    event.preventDefault();
    const next = (at + step + tabs.length) % tabs.length;
    select(next);
    tabs[next].focus();
  };
  list.replaceChildren(...tabs);
  select(0);
}

/** @param {Panel} panel */
function makeTab({ name, title, root }) {
  const tab = make("button", "", title);
  tab.type = "button";
  tab.id = `${name}-tab`;
  tab.dataset.testid = `tab-${name}`;
  tab.setAttribute("role", "tab");
  tab.setAttribute("aria-controls", root.id);
  root.setAttribute("role", "tabpanel");
  root.setAttribute("aria-labelledby", tab.id);
  return tab;
}
