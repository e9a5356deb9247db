/** Owns sorting texts into labels: the ones the reader types, or the ones a model with a head was trained for. */
import { make } from "../dom.js";
import { countOf } from "../format.js";
import { splitLabels, splitPassages } from "../passages.js";
import { resultItem, resultList } from "../results.js";
import { TaskView, inBatches } from "./task_view.js";

const SCORES_SHOWN = 3;
const TEXTS = `The parcel says delivered, but nothing is at my door.
You charged my card twice for the same month.
The app closes itself as soon as I open the camera.
Your colleague on the phone was patient and kind, thank you.
I would like to send the shoes back, they are too small.`;
const LABELS = `delivery: a parcel that is late or missing
payment: a bill, a charge or a refund
technical fault: the app or the website does not work
praise: the customer is happy and says thank you
return: an item is sent back or exchanged`;

const knownLabels = make("p", "small");

export const classify = new TaskView({
  name: "classify",
  title: "Sort into labels",
  action: "Sort",
  fields: [
    { name: "texts", label: "Texts to sort", rows: 7, value: TEXTS, count: (text) => countOf(splitPassages(text).length, "text") },
    {
      name: "labels",
      label: "Labels",
      rows: 5,
      value: LABELS,
      help: "One a line. A few words after a colon say what the label means and make it sharper.",
    },
  ],
  opened(view, { labels }) {
    view.field("labels").root.hidden = labels !== null;
    knownLabels.textContent = labels ? `This model knows these labels: ${labels.join(", ")}.` : "";
    view.field("texts").below.append(knownLabels);
  },
  run: sort,
});

/** @param {import("./task_view.js").Run} run */
async function sort(run) {
  const { model, signal, show } = run;
  const texts = splitPassages(run.values.texts);
  const typed = splitLabels(run.values.labels);
  if (texts.length === 0 || (!model.labels && typed.length < 2)) {
    show();
    return { summary: texts.length === 0 ? "There is no text to sort yet." : "Sorting needs at least two labels." };
  }
  const labels = model.labels ? undefined : typed.map(({ meaning }) => meaning);
  const names = new Map(typed.map(({ name, meaning }) => [meaning, name]));
  const rows = await inBatches(run, texts, (batch) => model.classify(batch, { labels, signal }));
  const items = texts.map((text, index) => {
    const best = rows[index].slice(0, SCORES_SHOWN);
    const scores = best.map(({ label, score }) => ({ label: labels ? (names.get(label) ?? label) : label, score, probable: !labels }));
    return resultItem(text, scores, "classify-result");
  });
  show(resultList(items));
  const meaning = labels ? "The number is how near the label's meaning is to the text's." : "The number is the label's probability.";
  return { texts: texts.length, summary: `${countOf(texts.length, "text")} sorted, best label first. ${meaning}` };
}
