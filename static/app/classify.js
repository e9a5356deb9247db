/** Owns sorting texts into labels: the ones the reader types, or the ones a model with a head was trained for. */
import { byId } from "./dom.js";
import { countOf } from "./format.js";
import { splitLabels, splitPassages } from "./passages.js";
import { resultItem } from "./results.js";
import { TaskPanel } from "./task_panel.js";

/** @typedef {import("./task_panel.js").Model} Model */

const SCORES_SHOWN = 3;

/** @returns {TaskPanel} */
export function setUpClassify() {
  const texts = byId("classify-texts", HTMLTextAreaElement);
  const count = byId("classify-count", HTMLElement);
  const showCount = () => {
    count.textContent = countOf(splitPassages(texts.value).length, "text");
  };
  texts.addEventListener("input", showCount);
  showCount();
  return new TaskPanel("classify", classify);
}

/** @param {Model} model */
export function offerLabels(model) {
  byId("typed-labels", HTMLElement).hidden = model.labels !== null;
  const head = byId("head-labels", HTMLElement);
  head.hidden = model.labels === null;
  head.textContent = model.labels ? `This model knows these labels: ${model.labels.join(", ")}.` : "";
}

/**
 * @param {TaskPanel} panel
 * @param {AbortSignal} signal
 */
async function classify(panel, signal) {
  const { model } = panel;
  const texts = splitPassages(byId("classify-texts", HTMLTextAreaElement).value);
  const typed = splitLabels(byId("classify-labels", HTMLTextAreaElement).value);
  if (!model || texts.length === 0) {
    panel.results.replaceChildren();
    return { texts: 0, summary: "There is no text to sort yet." };
  }
  if (!model.labels && typed.length < 2) {
    panel.results.replaceChildren();
    return { texts: 0, summary: "Sorting needs at least two labels." };
  }
  const labels = model.labels ? undefined : typed.map(({ meaning }) => meaning);
  const names = new Map(typed.map(({ name, meaning }) => [meaning, name]));
  const rows = await panel.inBatches(texts, (batch) => model.classify(batch, { labels, signal }));
  panel.results.replaceChildren(
    ...texts.map((text, index) => {
      const best = rows[index].slice(0, SCORES_SHOWN);
      const scores = best.map(({ label, score }) => ({ label: labels ? (names.get(label) ?? label) : label, score }));
      return resultItem(text, scores, "classify-result");
    }),
  );
  const meaning = labels ? "The number is how near the label's meaning is to the text's." : "The number is the model's probability.";
  return { texts: texts.length, summary: `${countOf(texts.length, "text")} sorted, best label first. ${meaning}` };
}
