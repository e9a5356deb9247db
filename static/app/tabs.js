/** Owns a tab list: one tab selected, its panel shown, arrow keys between them. */

/**
 * @param {HTMLElement} list with role=tablist; each tab names its panel in aria-controls
 * @returns {{select: (tabId: string) => void}}
 */
export function setUpTabs(list) {
  const tabs = [...list.querySelectorAll('[role="tab"]')].filter((tab) => tab instanceof HTMLButtonElement);

  /** @param {HTMLButtonElement} chosen */
  function select(chosen) {
    for (const tab of tabs) {
      const selected = tab === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel) panel.hidden = !selected;
    }
  }

  for (const tab of tabs) tab.addEventListener("click", () => select(tab));
  list.addEventListener("keydown", (event) => {
    const shown = tabs.filter((tab) => !tab.hidden);
    const at = shown.findIndex((tab) => tab === document.activeElement);
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (at < 0 || step === 0) return;
    event.preventDefault();
    const next = shown[(at + step + shown.length) % shown.length];
    select(next);
    next.focus();
  });
  return {
    select(tabId) {
      const tab = tabs.find(({ id }) => id === tabId);
      if (tab) select(tab);
    },
  };
}
