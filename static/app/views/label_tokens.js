/** Owns the labelling of names and words: they are marked in the text, with what each label means and how sure the model is. */
import { make } from "../dom.js";
import { countOf, formatShare } from "../format.js";
import { splitLines } from "../passages.js";
import { markedText, resultItem, resultList } from "../results.js";
import { labelName } from "../wording.js";
import { TaskView, inBatches } from "./task_view.js";

/** @typedef {{label: string, score: number, word: string, start: number, end: number}} Found */

/** Colours that marks have; labels beyond share them. */
const COLOURS = 6;
const NO_BREAK = "\u00a0";
const TEXT = `Maria Lindqvist flew from Oslo to Nairobi in March to open the new office of the Red Cross.
The Danish engineer had worked for Siemens in Berlin until 2019.
"Lake Victoria is the reason I said yes," she told the Daily Nation.`;

export const labelTokens = new TaskView({
  name: "label-tokens",
  title: "Label words",
  action: "Label",
  fields: [{ name: "text", label: "Text", rows: 7, value: TEXT }],
  run: label,
});

/** @param {import("./task_view.js").Run} run */
async function label(run) {
  const { model, signal, show } = run;
  const { text } = run.values;
  const lines = splitLines(text);
  if (lines.length === 0) {
    show();
    return { summary: "There is no text to label yet." };
  }
  const texts = lines.map((line) => line.text);
  const rows = await inBatches(run, texts, (batch) => model.classifyTokens(batch, { group: true, signal }));
  const found = rows.flatMap((tokens, at) =>
    tokens.flatMap((token) => {
      if (token.start === null || token.end === null) return [];
      return { ...token, start: lines[at].start + token.start, end: lines[at].start + token.end };
    }),
  );
  if (found.length === 0) {
    show();
    return { texts: lines.length, summary: "The model found nothing that it has a label for." };
  }
  const kinds = kindsOf(found, model.labels ?? []);
  show(legend(kinds), labelled(text, found, kinds), list(found, kinds));
  return { texts: lines.length, summary: `${countOf(found.length, "place")} labelled. The number is the label's probability.` };
}

/**
 * The labels that were found, each with its colour: the same for one model whatever the text.
 * @param {Found[]} found
 * @param {readonly string[]} labels of the model
 * @returns {Map<string, {colour: number, count: number}>}
 */
function kindsOf(found, labels) {
  const all = [...new Set(labels.map((name) => name.replace(/^[BI]-/, "")))].filter((name) => name !== "O");
  const kinds = new Map();
  for (const name of all) {
    const count = found.filter((item) => item.label === name).length;
    if (count > 0) kinds.set(name, { colour: all.indexOf(name) % COLOURS, count });
  }
  return kinds;
}

/** @param {Map<string, {colour: number, count: number}>} kinds */
function legend(kinds) {
  const root = make("ul", "label-legend small");
  root.dataset.testid = "label-legend";
  for (const [name, { colour, count }] of kinds) {
    const item = make("li", "");
    const sample = make("span", "labelled", name);
    sample.dataset.colour = String(colour);
    item.append(sample, ` ${[labelName(name), count].filter(Boolean).join(", ")}`);
    root.append(item);
  }
  return root;
}

/**
 * @param {string} text
 * @param {Found[]} found
 * @param {Map<string, {colour: number}>} kinds
 */
function labelled(text, found, kinds) {
  const root = make("p", "marked-text");
  root.dataset.testid = "labelled-text";
  const marks = markedText(text, found, (mark, item) => {
    mark.className = "labelled";
    mark.dataset.colour = String(kinds.get(item.label)?.colour ?? 0);
    mark.title = `${labelName(item.label) || item.label}, ${formatShare(item.score)}`;
    mark.append(NO_BREAK, make("span", "labelled-name", item.label));
  });
  root.append(marks);
  return root;
}

/**
 * Each name once with its best score, in the order of the text.
 * @param {Found[]} found
 * @param {Map<string, {colour: number}>} kinds
 */
function list(found, kinds) {
  /** @type {Map<string, Found & {count: number}>} */
  const names = new Map();
  for (const item of found) {
    const key = `${item.label}\n${item.word}`;
    const known = names.get(key);
    names.set(key, { ...item, score: Math.max(item.score, known?.score ?? 0), count: (known?.count ?? 0) + 1 });
  }
  const items = [...names.values()].map(({ label: name, word, score, count }) => {
    const row = resultItem(count > 1 ? `${word} (${count} times)` : word, [{ label: name, score, probable: true }], "label-result");
    row.dataset.colour = String(kinds.get(name)?.colour ?? 0);
    return row;
  });
  return resultList(items);
}
