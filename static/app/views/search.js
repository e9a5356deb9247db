/** Owns semantic search: passages are embedded once and kept while the model runs; each query ranks them. */
import { countOf } from "../format.js";
import { rank, splitPassages } from "../passages.js";
import { resultItem, resultList } from "../results.js";
import { TaskView, inBatches } from "./task_view.js";

const MOST_SHOWN = 10;
const CORPUS = `The museum is closed on Mondays and on public holidays.
A season ticket pays for itself after four visits.
Dogs are welcome in the garden, but not in the galleries.
The lift next to the cloakroom reaches every floor.
Photographs are fine as long as the flash is off.
Our café bakes its own bread and opens half an hour before the galleries.
Under-sixteens come in free with a grown-up.
Large bags and umbrellas stay in the lockers downstairs.
The night bus stops across the street until two in the morning.`;

/** Of the passages that were read. Those of another model mean nothing to this one. @type {Map<string, Float32Array>} */
let vectors = new Map();

export const search = new TaskView({
  name: "search",
  title: "Search by meaning",
  action: "Search",
  fields: [
    {
      name: "corpus",
      label: "Text to search",
      rows: 9,
      value: CORPUS,
      help: "One passage a line; with empty lines between them, one a paragraph.",
      count: (text) => countOf(splitPassages(text).length, "passage"),
    },
    { name: "query", label: "What are you looking for?", value: "Where can I leave my backpack?" },
  ],
  opened() {
    vectors = new Map();
  },
  run: searchByMeaning,
});

/** @param {import("./task_view.js").Run} run */
async function searchByMeaning(run) {
  const { model, signal, show } = run;
  const passages = splitPassages(run.values.corpus);
  const query = run.values.query.trim();
  if (passages.length === 0 || !query) {
    show();
    return { summary: query ? "There is no text to search yet." : "Say what you are looking for." };
  }
  const known = vectors;
  const fresh = [...new Set(passages)].filter((passage) => !known.has(passage));
  const embedded = await inBatches(run, fresh, (batch) => model.embed(batch, { signal }));
  fresh.forEach((passage, index) => known.set(passage, embedded[index]));
  const queryVector = await model.embed(query, { signal });
  const ranked = rank(
    queryVector,
    passages.map((passage) => /** @type {Float32Array} */ (known.get(passage))),
  ).slice(0, MOST_SHOWN);
  show(resultList(ranked.map(({ index, score }) => resultItem(passages[index], [{ score }], "search-result"))));
  const shown = ranked.length < passages.length ? `The best ${ranked.length} of ${passages.length}` : `All ${ranked.length}`;
  return { texts: fresh.length + 1, summary: `${shown}, nearest in meaning first. 1 is the same meaning, 0 has nothing in common.` };
}
