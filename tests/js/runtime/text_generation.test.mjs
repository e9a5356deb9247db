import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as pause } from "node:timers/promises";
import { TextGeneration } from "../../../static/tasks/text_generation.js";
import { ChatTemplate } from "../../../static/text/chat_template.js";
import { END_ID, NgramSession, VOCAB_SIZE, byteTokenizer } from "./ngram_model.mjs";

const TEXTS = ["The sky is blue.", "Snow costs 5 € in Österreich."];
const TEMPLATE = "{% for m in messages %}<|turn|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|turn|>{% endif %}";

/** A clock that advances by a millisecond when it is read. */
function tickingClock() {
  let now = 0;
  return () => (now += 1);
}

function createModel({ texts = TEXTS, contextLength = 64, ...parts } = {}) {
  const session = new NgramSession(texts);
  const tokenizer = byteTokenizer();
  const model = new TextGeneration({
    session,
    tokenizer,
    chatTemplate: new ChatTemplate(TEMPLATE),
    endIds: new Set([END_ID]),
    defaults: {},
    contextLength,
    vocabSize: VOCAB_SIZE,
    clock: tickingClock(),
    pause,
    ...parts,
  });
  return { session, tokenizer, model };
}

async function collect(model, input, options = {}, signal) {
  const pieces = [];
  for await (const piece of model.generate(input, options, signal)) pieces.push(piece);
  return { pieces, text: pieces.map((piece) => piece.text).join("") };
}

const rejected = (code, pattern = /./) => (error) => error.code === code && pattern.test(error.message);

test("stops_at_end_token", async () => {
  const { model } = createModel();
  const { pieces, text } = await collect(model, "The sky");
  assert.equal(text, " is blue.");
  assert.deepEqual(pieces.at(-1), { text: "", tokenId: END_ID });
  const { finish_reason, generated_tokens, prompt_tokens } = model.stats.snapshot();
  assert.deepEqual([finish_reason, generated_tokens, prompt_tokens], ["stop", 10, 7]);
});

test("every_token_makes_one_piece", async () => {
  const { model, tokenizer } = createModel();
  const { pieces, text } = await collect(model, "Snow costs");
  assert.equal(text, " 5 € in Österreich.");
  assert.equal(pieces.length, new TextEncoder().encode(text).length + 1);
  assert.equal(tokenizer.decode(pieces.map((piece) => piece.tokenId)), text);
  assert.ok(pieces.every((piece) => !piece.text.includes("\uFFFD")));
});

test("stops_after_max_new_tokens", async () => {
  const { model } = createModel();
  const { pieces, text } = await collect(model, "The sky", { maxNewTokens: 4 });
  assert.deepEqual([pieces.length, text, model.stats.snapshot().finish_reason], [4, " is ", "length"]);
});

test("held_text_comes_out_at_the_end", async () => {
  const { model } = createModel();
  // Cut within the three bytes of the euro sign, and within what could be a stop string.
  assert.equal((await collect(model, "Snow costs 5 ", { maxNewTokens: 2 })).text, "\uFFFD");
  assert.equal((await collect(model, "The sky", { maxNewTokens: 4, stop: "s blues" })).text, " is ");
});

test("stops_before_stop_string", async () => {
  const { model } = createModel();
  const { text } = await collect(model, "The sky", { stop: ["green", "blue"] });
  assert.deepEqual([text, model.stats.snapshot().finish_reason], [" is ", "stop"]);
});

test("full_context_ends_the_answer", async () => {
  const { model, session } = createModel({ contextLength: 10 });
  const { pieces } = await collect(model, "The sky");
  assert.deepEqual([pieces.length, model.stats.snapshot().finish_reason, session.length], [4, "length", 10]);
});

test("rejects_prompt_longer_than_context", async () => {
  const { model } = createModel({ contextLength: 6 });
  await assert.rejects(collect(model, "The sky"), rejected("unsupported", /7 tokens.*room for 6/));
  await assert.rejects(collect(model, ""), rejected("unsupported", /empty/));
});

test("messages_go_through_the_template", async () => {
  const { model, session, tokenizer } = createModel();
  await collect(model, [{ role: "user", content: "Hi" }], { maxNewTokens: 1 });
  assert.equal(tokenizer.decode(session.tokens, { skipSpecialTokens: false }), "<|turn|>Hi<|turn|>");
  const bare = createModel({ chatTemplate: null }).model;
  await assert.rejects(collect(bare, [{ role: "user", content: "Hi" }]), rejected("unsupported", /no chat template/));
});

test("next_turn_reuses_the_cache", async () => {
  const texts = ["<|turn|>The sky<|turn|>It is blue."];
  const { model, session } = createModel({ texts });
  const first = [{ role: "user", content: "The sky" }];
  const { text } = await collect(model, first);
  assert.equal(text, "It is blue.");
  session.runs.length = 0;
  const second = [...first, { role: "assistant", content: text }, { role: "user", content: "More" }];
  const { text: continued } = await collect(model, second);
  const { prompt_tokens, cached_tokens } = model.stats.snapshot();
  // The end token was sampled but not run: everything before it is there already.
  assert.equal(cached_tokens, "_The sky_It is blue.".length);
  assert.equal(session.runs[0], prompt_tokens - cached_tokens);
  const { text: fresh } = await collect(createModel({ texts }).model, second);
  assert.equal(continued, fresh);
});

test("changed_history_runs_from_the_change_on", async () => {
  const { model, session } = createModel();
  await collect(model, "The sky is");
  session.runs.length = 0;
  const { text } = await collect(model, "The snow costs");
  assert.equal(model.stats.snapshot().cached_tokens, "The s".length);
  assert.equal(session.runs[0], "now costs".length);
  assert.equal(text, " 5 € in Österreich.");
});

test("same_prompt_again_runs_its_last_token", async () => {
  const { model, session } = createModel();
  await collect(model, "The sky", { maxNewTokens: 3 });
  session.runs.length = 0;
  assert.equal((await collect(model, "The sky", { maxNewTokens: 3 })).text, " is");
  assert.equal(session.runs[0], 1);
});

test("abort_ends_within_one_token", async () => {
  const { model, session } = createModel();
  const controller = new AbortController();
  const seen = [];
  const run = async () => {
    for await (const piece of model.generate("The sky", {}, controller.signal)) {
      seen.push(piece);
      if (seen.length === 3) controller.abort();
    }
  };
  await assert.rejects(run(), rejected("aborted"));
  assert.deepEqual([seen.length, session.length, model.stats.snapshot().finish_reason], [3, 9, "aborted"]);
  // What is cached is known still: the next answer is right.
  assert.equal((await collect(model, "The sky")).text, " is blue.");
});

test("abort_ends_a_long_prefill_between_its_parts", async () => {
  const { model, session } = createModel({ contextLength: 2000 });
  const controller = new AbortController();
  const prefill = session.prefill.bind(session);
  session.prefill = (ids) => {
    if (session.runs.length === 2) controller.abort();
    return prefill(ids);
  };
  await assert.rejects(collect(model, "The sky ".repeat(100), {}, controller.signal), rejected("aborted"));
  assert.equal(session.runs.length, 3);
  assert.ok(session.length < 800);
});

test("leaving_the_loop_keeps_the_model_usable", async () => {
  const { model } = createModel();
  for await (const piece of model.generate("Snow", {})) if (piece.text === "t") break;
  assert.equal((await collect(model, "The sky")).text, " is blue.");
});

test("the_logits_of_an_answer_share_one_array", async () => {
  const { model, session } = createModel();
  const prefill = session.prefill.bind(session);
  /** @type {(Float32Array | undefined)[]} */
  const offered = [];
  session.prefill = async (ids, into) => {
    offered.push(into);
    into?.set(await prefill(ids));
    return into ?? prefill(ids);
  };
  await collect(model, "The sky");
  assert.ok(offered.length > 4);
  assert.equal(new Set(offered.slice(2)).size, 1);
  assert.ok(offered[2] instanceof Float32Array);
});

test("seed_decides_the_answer", async () => {
  const { model } = createModel();
  const options = { temperature: 3, maxNewTokens: 12 };
  const texts = [];
  for (const seed of [1, 1, 2, 3]) texts.push((await collect(model, "The s", { ...options, seed })).pieces.map((p) => p.tokenId).join());
  assert.equal(texts[0], texts[1]);
  assert.ok(new Set(texts).size > 1);
});

test("defaults_of_the_model_hold_until_overridden", async () => {
  const { model } = createModel({ defaults: { maxNewTokens: 2 } });
  assert.equal((await collect(model, "The sky")).text, " i");
  assert.equal((await collect(model, "The sky", { maxNewTokens: 3 })).text, " is");
  assert.equal((await collect(model, "The sky", { maxNewTokens: undefined })).text, " i");
});

test("prefill_and_decode_continue_the_cache", async () => {
  const { model, tokenizer, session } = createModel();
  const greedy = (logits) => logits.indexOf(Math.max(...logits));
  let logits = await model.prefill(tokenizer.encode("The s"));
  logits = await model.prefill(tokenizer.encode("ky"));
  let text = "";
  for (let id = greedy(logits); id !== END_ID; id = greedy(await model.decode(id))) text += String.fromCharCode(id);
  assert.equal(text, " is blue.");
  await model.reset();
  assert.equal(session.length, 0);
});

test("rejects_tokens_outside_the_vocabulary", async () => {
  const { model } = createModel();
  for (const ids of [[VOCAB_SIZE], [-1], [0.5], []]) await assert.rejects(model.prefill(ids), rejected("unsupported"));
  await assert.rejects(model.decode(1e9), rejected("unsupported", /no token/));
});

test("rejects_decode_beyond_the_context", async () => {
  const { model } = createModel({ contextLength: 2 });
  await model.prefill([65, 66]);
  await assert.rejects(model.decode(67), rejected("unsupported", /room for 2/));
});

test("rejects_impossible_settings", async () => {
  const { model } = createModel();
  const wrong = [{ temperature: -1 }, { topP: 0 }, { topK: 1.5 }, { minP: 2 }, { maxNewTokens: 0 }, { seed: 0.1 }, { stop: "" }];
  for (const options of [...wrong, { temperature: NaN }, { repetitionPenalty: 0 }]) {
    const [name] = Object.keys(options);
    await assert.rejects(collect(model, "The sky", options), rejected("unsupported", new RegExp(name)));
  }
});

test("stats_come_from_the_clock", async () => {
  const { model } = createModel();
  await collect(model, "The sky");
  const stats = model.stats.snapshot();
  // The clock ticks once per reading: begin, before and after the prefill, and at each token.
  assert.equal(stats.time_to_first_token_s, 0.003);
  assert.equal(stats.prefill_tokens_per_s, 7000);
  assert.equal(stats.decode_tokens_per_s, 1000);
  assert.equal(stats.peak_memory_bytes, 1016);
  assert.equal(stats.backend, "ngram");
});
