import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as pause } from "node:timers/promises";
import { Encoder } from "../../../static/tasks/encoder.js";
import { batches } from "../../../static/tasks/encoder_runner.js";
import { missing, openTokenizer } from "../text/model_files.mjs";

const MINILM = "minilm-distilbert";
const HIDDEN = 16;

/** A real encoder, if a plain one: a token's state is a fixed vector made of its id; padding must not matter. */
class IdSession {
  kind = "encoder";
  backend = "ids";
  threads = 1;
  /** @type {{inputIds: number[][], attentionMask: number[][]}[]} */
  runs = [];

  constructor(head = null) {
    this.head = head;
  }

  async encode(batch) {
    this.runs.push(batch);
    const { inputIds, attentionMask } = batch;
    const states = inputIds.flat().flatMap((id) => Array.from({ length: HIDDEN }, (_, at) => Math.sin((id + 1) * (at + 1))));
    if (!this.head) {
      return { last_hidden_state: { data: Float32Array.from(states), dims: [inputIds.length, inputIds[0].length, HIDDEN] } };
    }
    const sums = inputIds.map((row, at) => row.reduce((sum, id, token) => sum + id * attentionMask[at][token], 0));
    return { logits: { data: Float32Array.from(sums.flatMap((sum) => this.head(sum))), dims: [inputIds.length, this.head(0).length] } };
  }

  memoryBytes() {
    return 1;
  }
}

function createEncoder({ session = new IdSession(), ...parts } = {}) {
  const model = new Encoder({
    session,
    tokenizer: openTokenizer(MINILM),
    pooling: { mode: "mean", normalize: true, maxTokens: 256 },
    labels: null,
    maxTokens: 256,
    clock: () => 0,
    pause,
    ...parts,
  });
  return { session, model };
}

const options = { skip: missing(MINILM) };
const TEXTS = ["short", "a text of some more words, not too many", "x ".repeat(400), "", "tail"];
const close = (a, b) => a.length === b.length && a.every((value, at) => Math.abs(value - b[at]) < 1e-6);

test("batch_equals_one_by_one", options, async () => {
  const { model } = createEncoder();
  const together = await model.embed(TEXTS);
  for (const [at, text] of TEXTS.entries()) assert.ok(close(together[at], (await model.embed([text]))[0]), `text ${at}`);
});

test("embeddings_have_unit_length", options, async () => {
  const [vector] = await createEncoder().model.embed(["hello there"]);
  assert.equal(vector.length, HIDDEN);
  assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
});

test("pooling_follows_the_manifest", options, async () => {
  const [cls] = await createEncoder({ pooling: { mode: "cls", normalize: false } }).model.embed(["hello"]);
  const start = openTokenizer(MINILM).idOf("[CLS]");
  assert.ok(close(cls, Float32Array.from({ length: HIDDEN }, (_, at) => Math.sin((start + 1) * (at + 1)))));
  const [mean] = await createEncoder({ pooling: { mode: "mean", normalize: false } }).model.embed(["hello"]);
  const ids = openTokenizer(MINILM).encode("hello");
  const expected = Array.from({ length: HIDDEN }, (_, at) => ids.reduce((sum, id) => sum + Math.sin((id + 1) * (at + 1)), 0) / ids.length);
  assert.ok(close(mean, Float32Array.from(expected)));
});

test("long_texts_are_cut_before_their_end_token", options, async () => {
  const { model, session } = createEncoder({ maxTokens: 10 });
  await model.embed(["word ".repeat(50)]);
  const tokenizer = openTokenizer(MINILM);
  const [row] = session.runs[0].inputIds;
  assert.deepEqual([row.length, tokenizer.tokenOf(row[0]), tokenizer.tokenOf(row[9])], [10, "[CLS]", "[SEP]"]);
});

test("padding_is_masked", options, async () => {
  const { model, session } = createEncoder();
  await model.embed(["one", "one two three"]);
  const [{ inputIds, attentionMask }] = session.runs;
  assert.deepEqual(attentionMask, [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]);
  assert.deepEqual(inputIds[1].slice(3), [0, 0]);
});

test("batches_hold_similar_lengths_within_a_budget", () => {
  const lengths = Array.from({ length: 100 }, (_, at) => 1 + ((at * 37) % 256));
  const groups = batches(lengths);
  assert.deepEqual(groups.flat().sort((a, b) => a - b), lengths.map((_, at) => at));
  for (const group of groups) assert.ok(group.length * Math.max(...group.map((at) => lengths[at])) <= 1024);
  assert.deepEqual(batches([5000, 1]), [[0], [1]]);
  assert.deepEqual(batches([]), []);
});

test("head_gives_probabilities_best_first", options, async () => {
  const session = new IdSession((sum) => [0, sum > 5000 ? 2 : -2]);
  const { model } = createEncoder({ session, labels: ["NEGATIVE", "POSITIVE"], pooling: null });
  const [low, high] = await model.classify(["", "some longer text that sums up"]);
  assert.deepEqual([low[0].label, high[0].label], ["NEGATIVE", "POSITIVE"]);
  assert.ok(Math.abs(high[0].score - 1 / (1 + Math.exp(-2))) < 1e-6);
  assert.ok(Math.abs(high[0].score + high[1].score - 1) < 1e-6);
});

test("a_single_label_has_a_degree", options, async () => {
  const session = new IdSession((sum) => [sum > 5000 ? 3 : -3]);
  const { model } = createEncoder({ session, labels: ["RELEVANT"], pooling: null });
  const [[low], [high]] = await model.classify(["", "some longer text that sums up"]);
  assert.ok(Math.abs(low.score - 1 / (1 + Math.exp(3))) < 1e-6 && Math.abs(high.score - 1 / (1 + Math.exp(-3))) < 1e-6);
});

test("labels_of_the_caller_are_ranked_by_similarity", options, async () => {
  const { model } = createEncoder();
  const [ranked] = await model.classify(["green apples"], { labels: ["unrelated", "green apples"] });
  assert.equal(ranked[0].label, "green apples");
  assert.ok(Math.abs(ranked[0].score - 1) < 1e-6 && ranked[1].score < 1);
});

test("rejects_what_the_model_cannot", options, async () => {
  const unsupported = (pattern) => (error) => error.code === "unsupported" && pattern.test(error.message);
  await assert.rejects(createEncoder().model.classify(["x"]), unsupported(/no classification head/));
  await assert.rejects(createEncoder({ pooling: null }).model.embed(["x"]), unsupported(/no embeddings/));
});

test("abort_ends_between_batches", options, async () => {
  const { model, session } = createEncoder();
  const controller = new AbortController();
  const encode = session.encode.bind(session);
  session.encode = (batch) => {
    controller.abort();
    return encode(batch);
  };
  const texts = Array.from({ length: 40 }, () => "word ".repeat(200));
  await assert.rejects(model.embed(texts, controller.signal), (error) => error.code === "aborted");
  assert.equal(session.runs.length, 1);
});

test("no_texts_give_no_results", options, async () => {
  assert.deepEqual(await createEncoder().model.embed([]), []);
});
