/** Owns semantic search: passages are embedded once and kept while the model runs; each query ranks them. */
import { byId } from "./dom.js";
import { countOf } from "./format.js";
import { rank, splitPassages } from "./passages.js";
import { resultItem } from "./results.js";
import { TaskPanel } from "./task_panel.js";

/** @typedef {import("./task_panel.js").Model} Model */

const MOST_SHOWN = 10;

/** @type {Map<string, Float32Array>} */
let vectors = new Map();

/** @returns {TaskPanel} */
export function setUpSearch() {
  const corpus = byId("search-corpus", HTMLTextAreaElement);
  const count = byId("search-count", HTMLElement);
  const showCount = () => {
    count.textContent = countOf(splitPassages(corpus.value).length, "passage");
  };
  corpus.addEventListener("input", showCount);
  showCount();
  return new TaskPanel("search", search);
}

/** Embeddings of another model mean nothing to this one. */
export function forgetVectors() {
  vectors = new Map();
}

/**
 * @param {TaskPanel} panel
 * @param {AbortSignal} signal
 */
async function search(panel, signal) {
  const { model } = panel;
  const passages = splitPassages(byId("search-corpus", HTMLTextAreaElement).value);
  const query = byId("search-query", HTMLInputElement).value.trim();
  if (!model || passages.length === 0 || !query) {
    panel.results.replaceChildren();
    return { texts: 0, summary: query ? "There is no text to search yet." : "Say what you are looking for." };
  }
  const known = vectors;
  const fresh = [...new Set(passages)].filter((passage) => !known.has(passage));
  const embedded = await panel.inBatches(fresh, (batch) => model.embed(batch, { signal }));
  fresh.forEach((passage, index) => known.set(passage, embedded[index]));
  const queryVector = await model.embed(query, { signal });
  const ranked = rank(
    queryVector,
    passages.map((passage) => /** @type {Float32Array} */ (known.get(passage))),
  ).slice(0, MOST_SHOWN);
  panel.results.replaceChildren(...ranked.map(({ index, score }) => resultItem(passages[index], [{ score }], "search-result")));
  const shown = ranked.length < passages.length ? `The best ${ranked.length} of ${passages.length}` : `All ${ranked.length}`;
  return { texts: fresh.length + 1, summary: `${shown}, nearest in meaning first. 1 is the same meaning, 0 has nothing in common.` };
}
