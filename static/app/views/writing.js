/** Owns how an answer to a text appears word by word, with its numbers, in the views that have no conversation. */
import { make } from "../dom.js";
import { formatRate } from "../format.js";
import { done } from "../journal.js";
import { showReceipt } from "../receipt_panel.js";
import { generationSettings } from "../settings.js";
import { showStatistics } from "../statistics.js";

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
  try {
    for await (const { text } of model.generate(input, { ...options, signal })) {
      done();
      words.appendData(text);
      showStatistics(model.stats);
      say(`Writing, ${paceOf(model.stats)}`);
    }
  } finally {
    article.classList.remove("writing");
    showStatistics(model.stats);
    showReceipt(model.receipt);
  }
  if (!words.data.trim()) {
    show();
    return { summary: "The model had nothing to say." };
  }
  const cut = model.stats.finish_reason === "length" ? " Cut at the longest answer; Settings can raise it." : "";
  return { summary: `Done, ${paceOf(model.stats)}.${cut}` };
}

/** @param {import("../../featherweight.js").Stats} stats */
function paceOf({ generated_tokens: tokens, decode_tokens_per_s: rate }) {
  return rate === null ? `${tokens} tokens` : `${tokens} tokens, ${formatRate(rate)} a second`;
}
