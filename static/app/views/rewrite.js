/** Owns turning a text into another: a translation, a summary, an answer, as the model was trained to. */
import { make } from "../dom.js";
import { swapPrefix } from "../passages.js";
import { TaskView } from "./task_view.js";
import { write } from "./writing.js";

const TEXT = "The ferry leaves at nine and is back before dark. Bring a coat: it is windy on the water, even in July.";

const offers = make("p", "offers");
offers.setAttribute("role", "group");
offers.setAttribute("aria-label", "What the text can begin with");
/** @type {string[]} */
let known = [];

export const rewrite = new TaskView({
  name: "rewrite",
  title: "Rewrite",
  action: "Write",
  generates: true,
  fields: [{ name: "text", label: "Text", rows: 7, value: TEXT }],
  opened(view, { texts }) {
    const { box, below } = view.field("text");
    const { prefixes } = texts;
    /** @param {string} prefix */
    const begin = (prefix) => {
      box.value = swapPrefix(box.value, [...known, ...prefixes], prefix);
      show();
    };
    const buttons = prefixes.map((prefix) => {
      const button = make("button", "offer", prefix.trim());
      button.type = "button";
      button.addEventListener("click", () => {
        begin(prefix);
        box.focus();
      });
      return button;
    });
    const show = () => buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(box.value.startsWith(prefixes[at]))));
    box.oninput = show;
    offers.replaceChildren(...buttons);
    offers.hidden = prefixes.length === 0;
    below.append(offers);
    if (!prefixes.some((prefix) => box.value.startsWith(prefix))) begin(prefixes[0] ?? "");
    known = prefixes;
    show();
  },
  async run(run) {
    if (run.values.text.trim()) return write(run, run.values.text.trim());
    run.show();
    return { summary: "There is no text to rewrite yet." };
  },
});
