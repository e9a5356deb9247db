import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FeatherweightError } from "../../../static/errors.js";
import { createTokenizer } from "../../../static/text/tokenizer.js";
import { missing, openChatTemplate, openTokenizer } from "./model_files.mjs";

const SMOLLM2 = "smollm2-135m-instruct";
const MINILM = "minilm-distilbert";
const reference = JSON.parse(readFileSync(new URL("../../data/smollm2_reference.json", import.meta.url), "utf8"));

test("chat_prompt_matches_reference", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  const template = openChatTemplate(SMOLLM2);
  const prompt = template.render([{ role: "user", content: "What is the capital of France?" }]);
  assert.equal(prompt, reference.results[0].prompt);
  assert.deepEqual(tokenizer.encode(prompt, { addSpecialTokens: false }), reference.results[0].prompt_token_ids);
});

test("token_ids_match_reference", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  for (const { prompt, prompt_token_ids, greedy_token_ids, greedy_text } of reference.results) {
    assert.deepEqual(tokenizer.encode(prompt, { addSpecialTokens: false }), prompt_token_ids);
    assert.equal(tokenizer.decode(greedy_token_ids, { skipSpecialTokens: false }), greedy_text);
  }
});

test("roundtrip", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  for (const text of ["Hello, world .", " two  spaces ", "naïve 東京 👩‍👩‍👧 n't", "a\n\nb\t1234", "\u{FEFF}bom"]) {
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }
});

test("system_prompt_is_kept", { skip: missing(SMOLLM2) }, () => {
  const template = openChatTemplate(SMOLLM2);
  const messages = [
    { role: "system", content: "Answer in French." },
    { role: "user", content: "Hi" },
  ];
  const closed = "<|im_start|>system\nAnswer in French.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n";
  assert.equal(template.render(messages), `${closed}<|im_start|>assistant\n`);
  assert.equal(template.render(messages, { addGenerationPrompt: false }), closed);
});

test("special_tokens_frame_a_text", { skip: missing(MINILM) }, () => {
  const tokenizer = openTokenizer(MINILM);
  const ids = tokenizer.encode("A cat.");
  assert.equal(tokenizer.tokenOf(ids[0]), "[CLS]");
  assert.equal(tokenizer.tokenOf(ids.at(-1)), "[SEP]");
  assert.ok(tokenizer.isSpecial(ids[0]));
  assert.deepEqual(tokenizer.encode("A cat.", { addSpecialTokens: false }), ids.slice(1, -1));
  assert.equal(tokenizer.decode(ids), "a cat.");
});

test("decodes_nothing_to_nothing", { skip: missing(SMOLLM2) }, () => {
  assert.equal(openTokenizer(SMOLLM2).decode([]), "");
});

test("rejects_unreadable_tokenizer", () => {
  const bytes = (text) => new TextEncoder().encode(text);
  for (const text of ["not json", "{}", '{"model": {"type": "Nonsense"}, "added_tokens": []}']) {
    assert.throws(
      () => createTokenizer({ tokenizer: bytes(text), config: null }),
      (error) => error instanceof FeatherweightError && error.code === "unsupported",
    );
  }
});
