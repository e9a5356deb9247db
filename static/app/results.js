/** Owns how a scored text is shown: the text, and each score as a number and as a weight on a small beam. */
import { find, fromTemplate, make } from "./dom.js";
import { scoreScale } from "./scale.js";

/**
 * @param {string} text
 * @param {{label?: string, score: number}[]} scores the first one leads
 * @param {string} testId
 */
export function resultItem(text, scores, testId) {
  const item = fromTemplate("result-template");
  item.dataset.testid = testId;
  find(item, ".result-text", HTMLElement).textContent = text;
  const list = find(item, ".result-scores", HTMLElement);
  for (const { label, score } of scores) {
    const row = make("p", "score");
    if (label !== undefined) row.append(make("span", "score-label", label));
    const number = make("span", "score-number", score.toFixed(2).replace("-", "−"));
    number.dataset.score = String(score);
    row.append(scoreScale(score), number);
    list.append(row);
  }
  return item;
}
