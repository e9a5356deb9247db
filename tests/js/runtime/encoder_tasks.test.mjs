/** Labels of tokens, answers to questions and words for gaps, over plain encoders and a real tokenizer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as pause } from "node:timers/promises";
import { FillMask } from "../../../static/tasks/fill_mask.js";
import { QuestionAnswering } from "../../../static/tasks/question_answering.js";
import { TokenClassification } from "../../../static/tasks/token_classification.js";
import { missing, openTokenizer } from "../text/model_files.mjs";

const MINILM = "minilm-distilbert";
const options = { skip: missing(MINILM) };

/** An encoder whose outputs are a function of the token: by name, id -> values. */
class TokenSession {
  kind = "encoder";
  backend = "tokens";
  threads = 1;
  /** @type {import("../../../static/backends/backend.js").Batch[]} */
  runs = [];

  /** @param {Record<string, (id: number) => number | number[]>} outputs */
  constructor(outputs) {
    this.outputs = outputs;
  }

  async encode(batch) {
    this.runs.push(batch);
    const { inputIds } = batch;
    const lead = [inputIds.length, inputIds[0].length];
    return Object.fromEntries(
      Object.entries(this.outputs).map(([name, valueOf]) => {
        const values = inputIds.flat().map(valueOf);
        const dims = Array.isArray(values[0]) ? [...lead, values[0].length] : lead;
        return [name, { data: Float32Array.from(values.flat()), dims }];
      }),
    );
  }

  memoryBytes() {
    return 1;
  }
}

function create(Task, session, parts = {}) {
  return new Task({ session, tokenizer: openTokenizer(MINILM), maxTokens: 64, clock: () => 0, pause, ...parts });
}

const LABELS = ["O", "B-PER", "I-PER", "B-LOC"];
const TAGS = { angela: 1, smith: 2, maria: 1, berlin: 3 };

function tagger(maxTokens = 64) {
  const tokenizer = openTokenizer(MINILM);
  const session = new TokenSession({ logits: (id) => LABELS.map((_, at) => (at === (TAGS[tokenizer.tokenOf(id)] ?? 0) ? 4 : 0)) });
  return { session, model: create(TokenClassification, session, { labels: LABELS, maxTokens }) };
}

test("tokens_get_their_labels_and_places", options, async () => {
  const text = "Angela Smith met Maria in Berlin.";
  const [found] = await tagger().model.classifyTokens([text]);
  assert.deepEqual(found.map(({ label, word }) => [label, word]), [
    ["B-PER", "Angela"], ["I-PER", "Smith"], ["B-PER", "Maria"], ["B-LOC", "Berlin"],
  ]);
  for (const { word, start, end, score } of found) {
    assert.equal(text.slice(start, end), word);
    assert.ok(Math.abs(score - Math.exp(4) / (Math.exp(4) + 3)) < 1e-6);
  }
});

test("grouped_tokens_are_one_name", options, async () => {
  const [found] = await tagger().model.classifyTokens(["Angela Smith and Maria, Maria Berlin"], { group: true });
  assert.deepEqual(found.map(({ label, word }) => [label, word]), [
    ["PER", "Angela Smith"], ["PER", "Maria"], ["PER", "Maria"], ["LOC", "Berlin"],
  ]);
});

test("ignored_labels_are_the_callers_choice", options, async () => {
  const [found] = await tagger().model.classifyTokens(["in Berlin"], { ignoreLabels: ["B-LOC"] });
  assert.deepEqual(found.map(({ label, word }) => [label, word]), [["O", "in"]]);
});

test("texts_of_one_batch_keep_their_order", options, async () => {
  const { session, model } = tagger();
  const found = await model.classifyTokens(["Berlin", "nobody was there at all", "met Maria"]);
  assert.deepEqual(found.map((tokens) => tokens.map(({ word }) => word)), [["Berlin"], [], ["Maria"]]);
  assert.equal(session.runs.length, 1);
});

test("long_texts_are_labelled_to_their_end", options, async () => {
  const { session, model } = tagger(24);
  const text = `Maria ${"word ".repeat(17)}Angela Smith ${"word ".repeat(43)}was in Berlin`;
  const [found] = await model.classifyTokens([text], { group: true });
  assert.deepEqual(found.map(({ word }) => word), ["Maria", "Angela Smith", "Berlin"]);
  for (const { word, start, end } of found) assert.equal(text.slice(start, end), word);
  const rows = session.runs.flatMap(({ inputIds }) => inputIds);
  assert.ok(rows.length > 3 && rows.every((row) => row.length <= 24));
});

/** Answers begin at "paris" or "lyon" and end at "france"; lyon is the better one. */
function reader(maxTokens = 64) {
  const tokenizer = openTokenizer(MINILM);
  const word = (id) => tokenizer.tokenOf(id);
  const session = new TokenSession({
    start_logits: (id) => ({ paris: 6, lyon: 7 })[word(id)] ?? 0,
    end_logits: (id) => (word(id) === "france" ? 6 : 0),
  });
  return { session, model: create(QuestionAnswering, session, { maxTokens }) };
}

test("answers_are_parts_of_the_context", options, async () => {
  const context = "Many say: Paris in France, others Lyon, France.";
  const [first, second] = await reader().model.answer("Where is paris france?", context, { topK: 2 });
  assert.equal(first.answer, "Lyon, France");
  assert.equal(context.slice(first.start, first.end), first.answer);
  assert.ok(first.score > second.score && first.score < 1);
});

test("context_is_the_second_text", options, async () => {
  const { session, model } = reader();
  await model.answer("who?", "it was me");
  const [{ inputIds, tokenTypeIds }] = session.runs;
  const tokenizer = openTokenizer(MINILM);
  assert.deepEqual(inputIds[0].map((id) => tokenizer.tokenOf(id)), ["[CLS]", "who", "?", "[SEP]", "it", "was", "me", "[SEP]"]);
  assert.deepEqual(tokenTypeIds, [[0, 0, 0, 0, 1, 1, 1, 1]]);
});

test("long_contexts_are_read_in_parts_that_overlap", options, async () => {
  const { session, model } = reader(24);
  const context = `${"word ".repeat(50)}Paris, France ${"word ".repeat(37)}`;
  const [best] = await model.answer("where?", context);
  assert.equal(best.answer, "Paris, France");
  assert.equal(context.slice(best.start, best.end), best.answer);
  const rows = session.runs.flatMap(({ inputIds }) => inputIds);
  assert.ok(rows.length > 4 && rows.every((row) => row.length <= 24));
});

test("an_empty_context_has_no_answer", options, async () => {
  assert.deepEqual(await reader().model.answer("where?", ""), []);
});

test("rejects_a_question_that_fills_the_model", options, async () => {
  const asked = reader(24).model.answer("where ".repeat(30), "here");
  await assert.rejects(asked, (error) => error.code === "unsupported" && /leaves no room/.test(error.message));
});

function filler() {
  const tokenizer = openTokenizer(MINILM);
  const vocabSize = 30522;
  const wanted = ["paris", "lyon", "rome"].map((word) => tokenizer.idOf(word));
  const mask = tokenizer.idOf("[MASK]");
  const session = new TokenSession({
    logits: (id) => Array.from({ length: vocabSize }, (_, at) => (id === mask && wanted.includes(at) ? 12 - wanted.indexOf(at) : 0)),
  });
  return create(FillMask, session);
}

test("mask_is_filled_best_first", options, async () => {
  const [found] = await filler().fillMask(["The capital of France is [MASK]."], { topK: 3 });
  assert.deepEqual(found.map(({ token }) => token), ["paris", "lyon", "rome"]);
  assert.equal(found[0].text, "the capital of france is paris.");
  assert.ok(found[0].score > found[1].score && found.reduce((sum, { score }) => sum + score, 0) < 1);
  assert.equal((await filler().fillMask(["[MASK]"]))[0].length, 5);
});

test("rejects_texts_without_one_mask", options, async () => {
  const unsupported = (error) => error.code === "unsupported" && /expected one/.test(error.message);
  await assert.rejects(filler().fillMask(["no gap"]), unsupported);
  await assert.rejects(filler().fillMask(["[MASK] and [MASK]"]), unsupported);
});
