/** Text-to-text generation over a plain encoder-decoder that shouts what it reads. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as pause } from "node:timers/promises";
import { TextToText } from "../../../static/tasks/text_to_text.js";
import { END_ID, VOCAB_SIZE, byteTokenizer } from "./ngram_model.mjs";

const START_ID = 257;

/** Answers a text with the same text in capitals, then ends. */
class ShoutingSession {
  kind = "encoder-decoder";
  backend = "shouting";
  threads = 1;
  starts = 0;

  async start(ids) {
    this.starts += 1;
    this.answer = [...byteTokenizer().encode(byteTokenizer().decode(ids).toUpperCase()), END_ID];
    this.read = [];
  }

  async decode(ids) {
    this.read.push(...ids);
    const next = this.answer[this.read.length - 1] ?? END_ID;
    return Float32Array.from({ length: VOCAB_SIZE }, (_, at) => (at === next ? 5 : 0));
  }

  memoryBytes() {
    return 1;
  }
}

function create(parts = {}) {
  const session = new ShoutingSession();
  const shared = { tokenizer: byteTokenizer(), endIds: new Set([END_ID]), defaults: {}, clock: () => 0, pause };
  return { session, model: new TextToText({ ...shared, session, startId: START_ID, forcedFirstId: null, contextLength: 64, ...parts }) };
}

async function collect(pieces) {
  let text = "";
  const ids = [];
  for await (const piece of pieces) {
    text += piece.text;
    ids.push(piece.tokenId);
  }
  return { text, ids };
}

test("answers_a_text_and_ends", async () => {
  const { session, model } = create();
  assert.deepEqual((await collect(model.generate("hello", {}))).text, "HELLO");
  assert.deepEqual((await collect(model.generate("again", {}))).text, "AGAIN");
  assert.equal(session.starts, 2);
  assert.equal(session.read[0], START_ID);
  const { finish_reason, prompt_tokens, generated_tokens } = model.stats.snapshot();
  assert.deepEqual([finish_reason, prompt_tokens, generated_tokens], ["stop", 5, 6]);
});

test("stops_at_the_length_and_at_stop_strings", async () => {
  assert.equal((await collect(create().model.generate("hello", { maxNewTokens: 3 }))).text, "HEL");
  assert.equal((await collect(create().model.generate("one two", { stop: " T" }))).text, "ONE");
});

test("the_first_token_may_be_forced", async () => {
  const { session, model } = create({ forcedFirstId: 88 });
  const { ids } = await collect(model.generate("abc", {}));
  assert.deepEqual(ids, [88, 66, 67, END_ID]);
  assert.deepEqual(session.read, [START_ID, 88, 66, 67]);
});

test("the_same_seed_gives_the_same_answer", async () => {
  const settings = { temperature: 2, seed: 7, maxNewTokens: 20 };
  const [one, two] = await Promise.all([1, 2].map(() => collect(create().model.generate("some text", settings))));
  assert.deepEqual(one, two);
});

test("an_abort_ends_between_tokens", async () => {
  const { model } = create();
  const controller = new AbortController();
  const pieces = model.generate("hello", {}, controller.signal);
  await pieces.next();
  controller.abort();
  await assert.rejects(pieces.next(), (error) => error.code === "aborted");
  assert.equal(model.stats.snapshot().finish_reason, "aborted");
});

test("rejects_what_it_cannot_read", async () => {
  const unsupported = (error) => error.code === "unsupported";
  await assert.rejects(collect(create().model.generate("x".repeat(65), {})), unsupported);
  await assert.rejects(collect(create().model.generate("", {})), unsupported);
  await assert.rejects(collect(create().model.generate([{ role: "user", content: "hi" }], {})), unsupported);
});
