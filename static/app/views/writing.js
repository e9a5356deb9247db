/** Owns how an answer to a text appears word by word, with its numbers, in the views that have no conversation. */
import { make } from "../dom.js";
import { countOf } from "../format.js";
import { done } from "../journal.js";
import { rateBesideExpected, showReceipt } from "../receipt_panel.js";
import { generationSettings } from "../settings.js";
import { showStatistics } from "../statistics.js";
import { TextFlow } from "./text_flow.js";

/**
 * @param {import("./task_view.js").Run} run
 * @param {string} input what the model reads
 * @param {string} [shown] stands before what it writes
 * @returns {Promise<{summary: string}>}
 */
export async function write({ model, signal, say, show }, input, shown = "") {
  const settings = generationSettings();
  if (!settings) return { summary: "A setting is out of its range." };
  const { systemPrompt: _unused, ...options } = settings;
  const article = make("article", "written writing");
  article.dataset.testid = "written";
  article.setAttribute("aria-label", "What the model writes");
  const body = make("p", "message-text");
  const words = document.createTextNode("");
  body.append(make("span", "given", shown), words);
  article.append(body);
  show(article);
  say("Reading…");
  const receiptBefore = model.receipt;
  const flow = new TextFlow(words, (put) => {
    put();
    if (signal.aborted) return;
    showStatistics(model.stats);
    say(`Writing: ${paceOf(model.stats)}`);
  });
  try {
    for await (const { text } of model.generate(input, { ...options, signal })) {
      done();
      flow.push(text);
    }
  } finally {
    flow.end();
    article.classList.remove("writing");
  }
  showReceipt(model.receipt);
  if (!words.data.trim()) {
    show();
    return { summary: "The model had nothing to say." };
  }
  const cut = model.stats.finish_reason === "length" ? " Cut at the longest answer; Settings can raise it." : "";
  const receipt = model.receipt === receiptBefore ? null : model.receipt;
  return { summary: `Done: ${paceOf(model.stats, receipt)}.${cut}` };
}

/** @param {import("../../featherweight.js").Stats} stats @param {import("../../featherweight.js").Receipt | null} [receipt] */
function paceOf({ generated_tokens: tokens, decode_tokens_per_s: rate }, receipt = null) {
  return rate === null ? countOf(tokens, "token") : `${countOf(tokens, "token")}, ${rateBesideExpected(rate, receipt)}`;
}
