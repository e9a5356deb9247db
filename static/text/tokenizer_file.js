/**
 * Owns the reading of tokenizer.json: the vocabulary and the merges, which are nearly all of it, go from its bytes into flat
 * tables; the rest is parsed.
 */

import { WordPiece } from "../vendor/huggingface/tokenizers.mjs";
import { BytePairs } from "./byte_pairs.js";
import { JsonCursor } from "./json_cursor.js";
import { MergeTable } from "./merge_table.js";
import { TokenTable } from "./token_table.js";

/**
 * @typedef {object} TokenizerFile
 * @property {any} json its content; where there is a model, without that model's vocabulary and merges
 * @property {import("../vendor/huggingface/tokenizers.mjs").Model | null} model null where it is of a kind that has no tables
 */

/** Settings of a byte-pair encoding that ours does not have; they are rare. */
const OTHERS = ["continuing_subword_prefix", "continuing_subword_suffix", "end_of_word_suffix", "dropout"];

/** @param {Uint8Array} bytes @returns {TokenizerFile} @throws {SyntaxError} */
export function readTokenizerFile(bytes) {
  const { vocab, merges } = findTables(bytes);
  if (vocab) {
    const json = parseWithout(bytes, [vocab, ...(merges ? [merges] : [])].sort((a, b) => a.start - b.start));
    const model = createModel(json.model, bytes, vocab, merges);
    if (model) return { json, model };
  }
  return { json: JSON.parse(new TextDecoder().decode(bytes)), model: null };
}

/** @param {any} config @param {Uint8Array} bytes @param {Range} vocab @param {Range} [merges] */
function createModel(config, bytes, vocab, merges) {
  const pairs = config.type === "BPE" && merges && OTHERS.every((name) => !config[name]);
  const tokens = pairs || config.type === "WordPiece" ? TokenTable.read(new JsonCursor(bytes, vocab.start)) : null;
  if (!tokens) return null;
  if (pairs) {
    const table = MergeTable.read(new JsonCursor(bytes, merges.start), tokens);
    return table && new BytePairs(config, tokens, table);
  }
  const model = new WordPiece({ ...config, vocab: {} });
  return Object.assign(model, { tokens_to_ids: tokens, vocab: tokens.texts(), unk_token_id: tokens.get(config.unk_token) });
}

/** @typedef {{start: number, end: number}} Range */

/**
 * Where the vocabulary and the merges lie, as far as they are an object and a list.
 * @param {Uint8Array} bytes
 * @returns {{vocab?: Range, merges?: Range}}
 */
function findTables(bytes) {
  /** @type {{vocab?: Range, merges?: Range}} */
  const found = {};
  const cursor = new JsonCursor(bytes);
  for (const key of cursor.keys()) {
    if (key !== "model" || !isNext(cursor, "{")) {
      cursor.skip();
      continue;
    }
    for (const part of cursor.keys()) {
      const wanted = (part === "vocab" && isNext(cursor, "{")) || (part === "merges" && isNext(cursor, "["));
      const start = cursor.at;
      cursor.skip();
      if (wanted) found[/** @type {"vocab" | "merges"} */ (part)] = { start, end: cursor.at };
    }
  }
  return found;
}

/** @param {JsonCursor} cursor @param {string} char */
function isNext(cursor, char) {
  return cursor.peek() === char.charCodeAt(0);
}

/** The content with nulls in place of some of its values. @param {Uint8Array} bytes @param {readonly Range[]} ranges ascending */
function parseWithout(bytes, ranges) {
  const decoder = new TextDecoder();
  let text = "";
  let at = 0;
  for (const { start, end } of ranges) {
    text += `${decoder.decode(bytes.subarray(at, start))}null`;
    at = end;
  }
  return JSON.parse(text + decoder.decode(bytes.subarray(at)));
}
