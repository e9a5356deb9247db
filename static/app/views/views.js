/** Owns which views a model gets: one row for each task, the first view shown first. */
import { chat } from "./chat.js";
import { classify } from "./classify.js";
import { fillGap } from "./fill_gap.js";
import { findAnswer } from "./find_answer.js";
import { goOn } from "./go_on.js";
import { labelTokens } from "./label_tokens.js";
import { rewrite } from "./rewrite.js";
import { search } from "./search.js";

/** @typedef {import("./task_view.js").Model} Model */

/**
 * @typedef {object} View
 * @property {string} name begins the ids of its elements
 * @property {string} title on its tab, where a model has several
 * @property {boolean} generates whether the settings of answers are its settings
 * @property {HTMLElement} root
 * @property {(model: Model, actions: {reload: () => void}) => void} open `reload` loads the model again after it died
 * @property {() => void} stop stops what runs
 */

/** @type {Record<string, (model: Model) => View[]>} */
const VIEWS = {
  "text-generation": ({ texts }) => [texts.chats ? chat : goOn],
  "text2text-generation": () => [rewrite],
  "feature-extraction": () => [search, classify],
  "text-classification": () => [classify],
  "token-classification": () => [labelTokens],
  "question-answering": () => [findAnswer],
  "fill-mask": () => [fillGap],
};

/** @param {Model} model @returns {View[]} none for a task that the page does not know */
export function viewsOf(model) {
  return VIEWS[model.task]?.(model) ?? [];
}
