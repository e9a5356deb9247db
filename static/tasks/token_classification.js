/** Owns the labelling of tokens, such as names of people and places in a text. */

import { tokenSpans } from "../text/token_spans.js";
import { EncoderRunner, softmax, valuesAt } from "./encoder_runner.js";

/**
 * A token, or neighbours of one label. `start` and `end` are where `word` stands in the text, null where that is not known.
 * @typedef {{label: string, score: number, word: string, start: number | null, end: number | null}} LabelledToken
 */

/** @typedef {import("./encoder_runner.js").RunnerParts & {labels: readonly string[]}} Parts */

/** The label of what is nothing. */
const OUTSIDE = "O";

export class TokenClassification {
  #runner;
  #labels;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#runner = new EncoderRunner(parts);
    this.#labels = parts.labels;
    this.stats = this.#runner.stats;
  }

  /**
   * A text longer than the model takes is read in parts that overlap by half.
   * @param {readonly string[]} texts
   * @param {{ignoreLabels?: readonly string[], group?: boolean, signal?: AbortSignal}} [options] `ignoreLabels`: "O" by
   *   default; `group`: joins neighbours of one label, whose names may begin with "B-" (begins) and "I-" (goes on)
   * @returns {Promise<LabelledToken[][]>} per text, in the order of the text
   * @throws {import("../errors.js").FeatherweightError} aborted, out_of_memory, device_lost
   */
  async classifyTokens(texts, { ignoreLabels = [OUTSIDE], group = false, signal } = {}) {
    this.stats.begin();
    const { tokenizer } = this.#runner;
    const encoded = texts.map((text) => this.#runner.partRows(text));
    const spans = encoded.map(({ all }, at) => tokenSpans(texts[at], all, tokenizer));
    const parts = encoded.flatMap(({ rows }, at) => rows.map((row) => ({ ...row, at })));
    const found = await this.#runner.run(parts, signal, ({ logits }, row, index) => {
      const { ids, shift, from, to, at } = parts[index];
      /** @type {Found[]} */
      const tokens = [];
      for (let token = from; token < to; token += 1) {
        const id = ids[token - shift];
        if (!tokenizer.isText(id)) continue;
        const scores = softmax(valuesAt(logits, row, token - shift));
        const best = scores.indexOf(Math.max(...scores));
        tokens.push({ label: this.#labels[best], score: scores[best], ids: [id], token, span: spans[at][token] });
      }
      return tokens.filter(({ label }) => !ignoreLabels.includes(label));
    });
    return texts.map((text, at) => {
      const tokens = found.filter((_, index) => parts[index].at === at).flat();
      return (group ? grouped(tokens) : tokens).map((item) => this.#describe(item, text));
    });
  }

  /** @param {Found} found @param {string} text @returns {LabelledToken} */
  #describe({ label, score, ids, span }, text) {
    if (!span) return { label, score, word: this.#runner.tokenizer.decode(ids).trim(), start: null, end: null };
    return { label, score, word: text.slice(...span), start: span[0], end: span[1] };
  }
}

/** @typedef {{label: string, score: number, ids: number[], token: number, span: [number, number] | null}} Found */

/** Joins neighbours whose labels go together; the score is the mean of theirs. @param {readonly Found[]} tokens @returns {Found[]} */
function grouped(tokens) {
  /** @type {Found[]} */
  const groups = [];
  for (const token of tokens) {
    const [, mark, label] = /** @type {RegExpExecArray} */ (/^(?:([BI])-)?(.*)$/s.exec(token.label));
    const open = groups.at(-1);
    if (open && open.label === label && mark !== "B" && token.token === open.token + open.ids.length) {
      const count = open.ids.push(...token.ids);
      open.score += (token.score - open.score) / count;
      open.span = open.span && token.span && [open.span[0], token.span[1]];
    } else {
      groups.push({ ...token, label, ids: [...token.ids] });
    }
  }
  return groups;
}
