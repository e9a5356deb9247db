import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { JsonCursor } from "../../../static/text/json_cursor.js";
import { randomSource } from "../../../static/text/sampler.js";
import { createTokenizer } from "../../../static/text/tokenizer.js";
import { readTokenizerFile } from "../../../static/text/tokenizer_file.js";
import { Tokenizer as LibraryTokenizer } from "../../../static/vendor/huggingface/tokenizers.mjs";
import { missing } from "./model_files.mjs";

const CHARS = ["a", "b", "c", "d", "é", "東", "😀", '"', "\\", "\n"];
/** What the vocabulary does not have. */
const STRANGERS = ["z", "ß", "🚀"];

/** @param {unknown} value @returns {Uint8Array} */
const bytesOf = (value) => new TextEncoder().encode(JSON.stringify(value));

/**
 * A tokenizer.json with merges of tokens that earlier ones made.
 * @param {number} seed
 * @param {Record<string, unknown>} [options] of the model
 */
function randomTokenizer(seed, options = {}) {
  const random = randomSource(seed);
  const tokens = ["<unk>", "<x>", ...CHARS];
  if (options.byte_fallback) for (const char of STRANGERS.slice(1)) tokens.push(...byteTokens(char));
  const first = tokens.indexOf("a");
  const pick = () => tokens[first + Math.floor(random() * (tokens.length - first))];
  const merges = [];
  while (merges.length < 60) {
    const [left, right] = [pick(), pick()];
    if (left.startsWith("<") || right.startsWith("<") || tokens.includes(left + right)) continue;
    tokens.push(left + right);
    merges.push([left, right]);
  }
  return {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    added_tokens: [{ id: 1, content: "<x>", special: true }, { id: tokens.length + 5, content: "<new>", special: false }],
    model: { type: "BPE", vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges, ...options },
  };
}

/** @param {string} char */
function byteTokens(char) {
  return [...new TextEncoder().encode(char)].map((byte) => `<0x${byte.toString(16).toUpperCase()}>`);
}

/** @param {number} seed */
function randomText(seed) {
  const random = randomSource(seed);
  const pieces = [...CHARS, ...CHARS, ...CHARS, ...STRANGERS, "<x>", "<new>"];
  return Array.from({ length: 40 }, () => pieces[Math.floor(random() * pieces.length)]).join("");
}

for (const options of [{}, { unk_token: "<unk>" }, { unk_token: "<unk>", fuse_unk: true }, { unk_token: "<unk>", byte_fallback: true }, { ignore_merges: true }]) {
  test(`pairs_merge_as_in_the_library: ${JSON.stringify(options)}`, () => {
    for (let seed = 0; seed < 20; seed++) {
      const json = randomTokenizer(seed, options);
      const bytes = bytesOf(json);
      assert.ok(readTokenizerFile(bytes).model);
      const tokenizer = createTokenizer({ tokenizer: bytes, config: null });
      const library = new LibraryTokenizer(json, {});
      for (let text = 0; text < 10; text++) {
        const words = randomText(100 * seed + text);
        const { ids } = library.encode(words);
        assert.deepEqual(tokenizer.encode(words), ids, JSON.stringify(words));
        assert.equal(tokenizer.decode(ids, { skipSpecialTokens: false }), library.decode(ids, { clean_up_tokenization_spaces: false }));
        for (const id of ids) assert.equal(tokenizer.tokenOf(id), library.id_to_token(id));
      }
    }
  });
}

test("merges_may_be_texts_and_texts_may_be_escaped", () => {
  const json = randomTokenizer(7);
  const ascii = JSON.stringify(json).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const spaced = JSON.stringify({ ...json, model: { ...json.model, merges: json.model.merges.map((pair) => pair.join(" ")) } }, null, 1);
  const expected = createTokenizer({ tokenizer: bytesOf(json), config: null });
  for (const text of [ascii, spaced]) {
    const bytes = new TextEncoder().encode(text);
    assert.ok(readTokenizerFile(bytes).model);
    const tokenizer = createTokenizer({ tokenizer: bytes, config: null });
    for (let seed = 0; seed < 10; seed++) assert.deepEqual(tokenizer.encode(randomText(seed)), expected.encode(randomText(seed)));
  }
});

test("what_the_tables_cannot_hold_is_left_to_the_library", () => {
  const json = randomTokenizer(3);
  const { model } = json;
  const others = [
    { ...model, merges: [...model.merges, ["a", "zz"]] },
    { ...model, end_of_word_suffix: "</w>" },
    { ...model, vocab: { ...model.vocab, twice: 4 } },
    { ...model, vocab: { ...model.vocab, far: 1e9 } },
    { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ["a", -1]] },
  ];
  for (const other of others) {
    const { json: whole, model: own } = readTokenizerFile(bytesOf({ ...json, model: other }));
    assert.equal(own, null);
    assert.deepEqual(whole.model, other);
  }
});

for (const id of ["smollm2-135m-instruct", "minilm-distilbert"]) {
  test(`tokens_of_a_real_text_are_those_of_the_library: ${id}`, { skip: missing(id) }, () => {
    const read = (/** @type {string} */ name) => readFileSync(new URL(`../../../models/${id}/${name}`, import.meta.url));
    const [tokenizer, config] = [read("tokenizer.json"), read("tokenizer_config.json")];
    const library = new LibraryTokenizer(JSON.parse(tokenizer.toString()), JSON.parse(config.toString()));
    const own = createTokenizer({ tokenizer, config });
    assert.ok(readTokenizerFile(tokenizer).model);
    const text = readFileSync(new URL("../../data/english.txt", import.meta.url), "utf8").slice(0, 20_000);
    for (const part of [text, "naïve 東京 👩‍👩‍👧 n't \u0000 ﬁ", "  <|im_end|>[MASK] ", "1234567890".repeat(9)]) {
      assert.deepEqual(own.encode(part), library.encode(part).ids);
    }
  });
}

test("damaged_json_is_an_error_wherever_it_ends", () => {
  const bytes = bytesOf(randomTokenizer(1));
  for (let length = 0; length < bytes.length; length += 7) {
    assert.throws(() => readTokenizerFile(bytes.subarray(0, length)), SyntaxError, `${length} bytes`);
  }
  const text = new TextDecoder().decode(bytes);
  for (const [from, to] of [['"a":', '"a" '], ['"b":', '"b":-'], ['["', '[["']]) {
    assert.throws(() => readTokenizerFile(new TextEncoder().encode(text.replace(from, to))), SyntaxError, to);
  }
});

test("any_value_can_be_passed", () => {
  for (const value of [0, -1.5e3, true, null, "", 'a "quoted\\" {text', [], {}, [1, [2, "]"]], { a: { b: "}" }, c: [null] }]) {
    const cursor = new JsonCursor(new TextEncoder().encode(` ${JSON.stringify(value, null, 2)} , 7`));
    cursor.skip();
    assert.ok(cursor.accept(","), JSON.stringify(value));
    assert.equal(cursor.count(), 7);
  }
});
