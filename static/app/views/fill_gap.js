/** Owns the filling of gaps: the words that a model thinks likeliest where the text has its mask, each in its place. */
import { make } from "../dom.js";
import { formatShare } from "../format.js";
import { markedText, resultItem, resultList } from "../results.js";
import { insertAtCursor } from "./fields.js";
import { TaskView } from "./task_view.js";

/** Characters of the text that are shown on each side of the word. */
const AROUND = 60;
const GAP = "[MASK]";
const TEXT = `After the rain the children ran into the ${GAP} to look for snails.`;

const insertButton = make("button", "quiet", "Insert a gap");
insertButton.type = "button";
insertButton.dataset.testid = "insert-gap";
let mask = GAP;

export const fillGap = new TaskView({
  name: "fill-gap",
  title: "Fill a gap",
  action: "Fill",
  fields: [
    { name: "text", label: "Text with one gap", rows: 4, value: TEXT },
    { name: "count", label: "Words to show", choices: ["5", "10", "25"] },
  ],
  opened(view, { texts }) {
    const { box, below } = view.field("text");
    const own = texts.maskToken ?? GAP;
    box.value = box.value.replaceAll(mask, own);
    mask = own;
    insertButton.onclick = () => insertAtCursor(box, mask);
    insertButton.title = `Puts ${mask} where the cursor is`;
    below.append(insertButton);
  },
  run: fill,
});

/** @param {import("./task_view.js").Run} run */
async function fill({ model, values, signal, say, show }) {
  const parts = values.text.split(mask);
  if (parts.length !== 2) {
    show();
    return { summary: parts.length === 1 ? `Put a gap into the text: it is written ${mask}.` : "One gap at a time: the text has more." };
  }
  say("Reading…");
  const fillings = await model.fillMask(values.text, { topK: Number(values.count), signal });
  const [before, after] = parts;
  show(resultList(fillings.map(({ token, score }) => resultItem(inPlace(before, token, after), [{ score, probable: true }], "filling"))));
  const [{ token, score }] = fillings;
  return { texts: 1, summary: `“${token}” is the likeliest word, with a probability of ${formatShare(score)}.` };
}

/**
 * The word in its place, with as much around it as fits a line or two.
 * @param {string} before
 * @param {string} token "##ing" goes on the word before it
 * @param {string} after
 */
function inPlace(before, token, after) {
  const goesOn = token.startsWith("##");
  const word = goesOn ? token.slice(2) : token || "␣";
  const left = goesOn ? before.trimEnd() : before;
  const lead = left.length > AROUND ? `…${left.slice(-AROUND)}` : left;
  const tail = after.length > AROUND ? `${after.slice(0, AROUND)}…` : after;
  const place = { start: lead.length, end: lead.length + word.length };
  return markedText(lead + word + tail, [place], (mark) => (mark.className = "answer"));
}
