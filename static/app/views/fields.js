/** Owns the fields of a task's form: a label, the box, what counts its content, and what stands below it. */
import { make } from "../dom.js";

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} label
 * @property {string} [value] at first
 * @property {number} [rows] lines of a longer text; without it the box has one line
 * @property {string[]} [choices] what can be chosen, instead of writing
 * @property {string} [help]
 * @property {(text: string) => string} [count] what is said of the content at the label's end
 */

/** @typedef {HTMLTextAreaElement | HTMLInputElement | HTMLSelectElement} Box */

/** A field on the page; `below` takes what belongs to it. @typedef {{root: HTMLElement, box: Box, row: HTMLElement, below: HTMLElement}} FieldParts */

/**
 * @param {string} view whose field it is
 * @param {Field} field
 * @returns {FieldParts}
 */
export function makeField(view, field) {
  const root = make("div", "field");
  const id = `${view}-${field.name}`;
  const label = make("label", "", field.label);
  label.htmlFor = id;
  const box = makeBox(field);
  box.id = id;
  box.dataset.testid = id;
  const row = make("div", "field-row");
  row.append(box);
  const below = make("div", "field-below");
  root.append(label, row, below);
  if (field.help) {
    const help = make("p", "small", field.help);
    help.id = `${id}-help`;
    box.setAttribute("aria-describedby", help.id);
    below.append(help);
  }
  if (field.count) {
    const { count } = field;
    const counter = make("span", "count");
    const show = () => (counter.textContent = count(box.value));
    label.append(" ", counter);
    box.addEventListener("input", show);
    show();
  }
  return { root, box, row, below };
}

/** @param {Field} field @returns {Box} */
function makeBox({ rows, choices, value = "" }) {
  if (choices) {
    const box = make("select", "");
    for (const choice of choices) box.append(make("option", "", choice));
    return box;
  }
  if (rows) {
    const box = make("textarea", "");
    box.rows = rows;
    box.value = value;
    return box;
  }
  const box = make("input", "");
  box.value = value;
  box.autocomplete = "off";
  return box;
}

/**
 * Puts a text where the reader's cursor is, in place of what is selected, and lets them write on.
 * @param {Box} box
 * @param {string} text
 */
export function insertAtCursor(box, text) {
  if (box instanceof HTMLSelectElement) return;
  const { selectionStart, selectionEnd, value } = box;
  box.setRangeText(text, selectionStart ?? value.length, selectionEnd ?? value.length, "end");
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.focus();
}
