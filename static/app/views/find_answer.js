/** Owns the answering of questions from a text: the answer is marked where it stands, the next best are offered beside it. */
import { make } from "../dom.js";
import { countOf, formatShare } from "../format.js";
import { markedText, resultItem, resultList } from "../results.js";
import { TaskView } from "./task_view.js";

/** @typedef {import("../../featherweight.js").Answer} Answer */

const ANSWERS = 3;
/** The likeliest are often one answer, a word longer or shorter; so many are looked at to find others. */
const LOOKED_AT = 50;
/** Below this the model as good as says that the text has no answer. */
const UNSURE = 0.1;
const PASSAGE = `The lighthouse on Bird Rock was built in 1871 by Ellen Marsh, who had lost two brothers to the reef. Its lamp burned whale oil until 1904, when a generator came by boat from Halifax.

Keepers lived on the rock with their families for ninety years. The last of them, Tomas Reyes, left in 1961, and since then the light has run by itself. Seabirds nest in the old kitchen.`;

export const findAnswer = new TaskView({
  name: "find-answer",
  title: "Ask a text",
  action: "Ask",
  fields: [
    { name: "passage", label: "Text that holds the answer", rows: 9, value: PASSAGE, count: (text) => countOf(text.split(/\s+/).filter(Boolean).length, "word") },
    { name: "question", label: "Question", value: "Who was the last keeper?" },
  ],
  run: ask,
});

/** @param {import("./task_view.js").Run} run */
async function ask({ model, values, signal, say, show }) {
  const { passage } = values;
  const question = values.question.trim();
  if (!passage.trim() || !question) {
    show();
    return { summary: question ? "There is no text to look in yet." : "Ask a question." };
  }
  say("Reading…");
  const answers = distinct(await model.answer(question, passage, { topK: LOOKED_AT, signal })).slice(0, ANSWERS);
  const text = make("p", "marked-text");
  text.dataset.testid = "answer-text";
  text.tabIndex = 0;
  text.setAttribute("role", "region");
  text.setAttribute("aria-label", "The text with the answer marked");
  const items = answers.map((answer) => answerItem(answer));
  /** @param {number} chosen */
  const mark = (chosen) => {
    items.forEach(({ button }, at) => button.setAttribute("aria-pressed", String(at === chosen)));
    showAnswer(text, passage, answers[chosen]);
  };
  items.forEach(({ button }, at) => button.addEventListener("click", () => mark(at)));
  show(text, resultList(items.map(({ item }) => item)));
  mark(0);
  const [{ answer, score }] = answers;
  const doubt = score < UNSURE ? " The model is not sure of it: the text may not say." : "";
  return { texts: 1, summary: `“${answer}”, the likeliest answer, has a probability of ${formatShare(score)}.${doubt}` };
}

/** Those that share no word with a better one. @param {Answer[]} answers the best first */
function distinct(answers) {
  /** @type {Answer[]} */
  const kept = [];
  for (const answer of answers) {
    const { start, end } = answer;
    const overlaps = kept.some((better) => start === null || end === null || (start < (better.end ?? 0) && end > (better.start ?? 0)));
    if (!overlaps) kept.push(answer);
  }
  return kept;
}

/** @param {Answer} answer */
function answerItem({ answer, score }) {
  const button = make("button", "quiet result-choice", answer);
  button.type = "button";
  const item = resultItem(button, [{ score, probable: true }], "answer-result");
  return { item, button };
}

/**
 * @param {HTMLElement} root scrolled so that the answer is seen
 * @param {string} passage
 * @param {Answer} answer
 */
function showAnswer(root, passage, { start, end }) {
  const places = start === null || end === null ? [] : [{ start, end }];
  root.replaceChildren(markedText(passage, places, (mark) => (mark.className = "answer")));
  const mark = root.querySelector("mark");
  if (mark) root.scrollTop = mark.offsetTop - root.offsetTop - root.clientHeight / 3;
}
