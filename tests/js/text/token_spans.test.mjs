/** Where tokens stand in the text that they were made of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { tokenSpans } from "../../../static/text/token_spans.js";
import { byteTokenizer } from "../runtime/ngram_model.mjs";
import { missing, openTokenizer } from "./model_files.mjs";

const MINILM = "minilm-distilbert";

/** The words that the tokens of a text came from. */
function words(text, tokenizer) {
  return tokenSpans(text, tokenizer.encode(text), tokenizer).map((span) => span && text.slice(...span));
}

test("case_accents_and_pieces_are_found", { skip: missing(MINILM) }, () => {
  const tokenizer = openTokenizer(MINILM);
  assert.deepEqual(words("Élodie  visited München, unbelievably!", tokenizer), [
    null, "Él", "od", "ie", "visited", "München", ",", "un", "bel", "ie", "va", "bly", "!", null,
  ]);
});

test("the_same_word_is_found_where_it_stands", { skip: missing(MINILM) }, () => {
  const tokenizer = openTokenizer(MINILM);
  const text = "to be or not to be";
  const spans = tokenSpans(text, tokenizer.encode(text), tokenizer).slice(1, -1);
  assert.deepEqual(spans, [[0, 2], [3, 5], [6, 8], [9, 12], [13, 15], [16, 18]]);
});

test("what_the_vocabulary_does_not_know_is_between_its_neighbours", { skip: missing(MINILM) }, () => {
  const tokenizer = openTokenizer(MINILM);
  assert.deepEqual(words("red 𒀀 blue", tokenizer), [null, "red", "𒀀", "blue", null]);
  assert.deepEqual(words(" 𒀀 blue 𒀁 ", tokenizer), [null, "𒀀", "blue", "𒀁", null]);
  assert.deepEqual(words("red 𒀀 𒀁 blue", tokenizer), [null, "red", null, null, "blue", null]);
});

test("byte_tokens_are_found_one_by_one", () => {
  const tokenizer = byteTokenizer();
  const text = "ab Cd";
  assert.deepEqual(words(text, tokenizer), ["a", "b", null, "C", "d"]);
});
