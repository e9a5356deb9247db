/** Owns how results are shown: a text, each score as a number and as a weight on a small beam, and marked places of a text. */
import { find, fromTemplate, make } from "./dom.js";
import { formatShare } from "./format.js";
import { scoreScale } from "./scale.js";

/** @param {HTMLElement[]} items the best first */
export function resultList(items) {
  const list = make("ol", "results");
  list.append(...items);
  return list;
}

/**
 * @param {Node | string} text
 * @param {{label?: string, score: number, probable?: boolean}[]} scores the first one leads; `probable`: a probability
 * @param {string} testId
 */
export function resultItem(text, scores, testId) {
  const item = fromTemplate("result-template");
  item.dataset.testid = testId;
  find(item, ".result-text", HTMLElement).append(text);
  const list = find(item, ".result-scores", HTMLElement);
  for (const { label, score, probable = false } of scores) {
    const row = make("p", "score");
    if (label !== undefined) row.append(make("span", "score-label", label));
    const number = make("span", "score-number", probable ? formatShare(score) : score.toFixed(2).replace("-", "−"));
    number.dataset.score = String(score);
    row.append(scoreScale(score), number);
    list.append(row);
  }
  return item;
}

/**
 * A text with places marked.
 * @template {{start: number, end: number}} Place
 * @param {string} text
 * @param {readonly Place[]} places in the order of the text; one that overlaps the one before it is left out
 * @param {(mark: HTMLElement, place: Place) => void} [dress] adds what a mark says
 */
export function markedText(text, places, dress) {
  const parts = document.createDocumentFragment();
  let at = 0;
  for (const place of places) {
    if (place.start < at || place.end <= place.start) continue;
    const mark = make("mark", "", text.slice(place.start, place.end));
    dress?.(mark, place);
    parts.append(text.slice(at, place.start), mark);
    at = place.end;
  }
  parts.append(text.slice(at));
  return parts;
}
