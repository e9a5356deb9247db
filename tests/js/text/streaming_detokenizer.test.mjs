import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamingDetokenizer } from "../../../static/text/streaming_detokenizer.js";
import { createTokenizer } from "../../../static/text/tokenizer.js";
import { randomSource } from "../../../static/text/sampler.js";
import { missing, openTokenizer } from "./model_files.mjs";

const SMOLLM2 = "smollm2-135m-instruct";
const MINILM = "minilm-distilbert";
const TEXT = "Déjà vu: 東京 is 日本's 首都. 👩‍👩‍👧‍👦 𝔘𝔫𝔦 \u{1F1EB}\u{1F1F7}; e\u0301, ཨོཾ, ok? don't !";

/** @param {import("../../../static/text/tokenizer.js").Tokenizer} tokenizer @param {number[]} ids @param {object} [options] */
function stream(tokenizer, ids, options) {
  const detokenizer = new StreamingDetokenizer(tokenizer, options);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

/** A SentencePiece-like tokenizer with byte fallback; the text it decodes has lost one leading space. */
function fallbackTokenizer() {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokens = ["<unk>", "<s>", ...bytes, "▁", "▁Hello", "▁world", "!", "é"];
  const tokenizer = {
    added_tokens: [
      { id: 0, content: "<unk>", special: true },
      { id: 1, content: "<s>", special: true },
    ],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
  return createTokenizer({ tokenizer: new TextEncoder().encode(JSON.stringify(tokenizer)), config: null });
}

test("joined_pieces_equal_decode", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  const ids = tokenizer.encode(TEXT);
  assert.equal(stream(tokenizer, ids).join(""), TEXT);
  assert.equal(stream(tokenizer, ids).join(""), tokenizer.decode(ids));
});

test("joined_pieces_equal_decode_of_random_tokens", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  const random = randomSource(1);
  for (let round = 0; round < 200; round += 1) {
    // Low ids are single bytes in this vocabulary, so half of these are broken characters.
    const limit = round % 2 ? 400 : 49152;
    const ids = Array.from({ length: 40 }, () => Math.floor(random() * limit));
    for (const skipSpecialTokens of [true, false]) {
      const options = { skipSpecialTokens };
      assert.equal(stream(tokenizer, ids, options).join(""), tokenizer.decode(ids, options));
    }
  }
});

test("never_splits_a_character", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  const ids = tokenizer.encode(TEXT);
  const pieces = stream(tokenizer, ids);
  assert.ok(pieces.every((piece) => !piece.includes("\uFFFD") && piece.isWellFormed()));
  // The test says something only if some characters really come in parts.
  assert.ok(pieces.slice(0, -1).some((piece) => piece === ""));
});

test("incomplete_character_comes_out_at_the_end", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  const ids = tokenizer.encode("𝔘");
  assert.ok(ids.length > 1);
  assert.deepEqual(stream(tokenizer, ids.slice(0, 1)), ["", "\uFFFD"]);
});

test("special_tokens_make_no_text", { skip: missing(SMOLLM2) }, () => {
  const tokenizer = openTokenizer(SMOLLM2);
  const end = tokenizer.idOf("<|im_end|>");
  assert.deepEqual(stream(tokenizer, [end]), ["", ""]);
  assert.deepEqual(stream(tokenizer, [end], { skipSpecialTokens: false }), ["<|im_end|>", ""]);
});

test("word_pieces_join_with_their_spaces", { skip: missing(MINILM) }, () => {
  const tokenizer = openTokenizer(MINILM);
  const ids = tokenizer.encode("Featherweight tokenization, unbelievably simple.");
  assert.equal(stream(tokenizer, ids).join(""), tokenizer.decode(ids));
});

test("byte_fallback_joins_bytes", () => {
  const tokenizer = fallbackTokenizer();
  const byte = (value) => value + 2;
  const [hello, world, bang, accent] = ["▁Hello", "▁world", "!", "é"].map((token) => tokenizer.idOf(token));
  const euro = [0xe2, 0x82, 0xac].map(byte);
  for (const ids of [[hello, ...euro, world, bang], [1, ...euro, accent], [...euro, byte(0xe2), world], [hello, byte(0xff)]]) {
    assert.equal(stream(tokenizer, ids).join(""), tokenizer.decode(ids));
  }
  assert.deepEqual(stream(tokenizer, [hello, ...euro, world]), ["Hello", "", "", "€", " world", ""]);
});
