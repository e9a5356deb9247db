/** A small real language model for tests: byte tokens, an n-gram table, behind the interface of a backend's session. */
import { createTokenizer } from "../../../static/text/tokenizer.js";

export const END_ID = 256;
export const VOCAB_SIZE = 258;
const ORDER = 6;

/** Byte-level BPE without merges: ids 0..255 are bytes, then <|end|> and <|turn|>. */
export function byteTokenizer() {
  const printable = (byte) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  const vocab = {};
  for (let byte = 0; byte < 256; byte += 1) vocab[String.fromCharCode(printable(byte) ? byte : next++)] = byte;
  const special = ["<|end|>", "<|turn|>"].map((content, at) => ({ id: 256 + at, content, special: true }));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  const tokenizer = {
    added_tokens: special,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges: [], unk_token: null },
  };
  const bytes = (value) => new TextEncoder().encode(JSON.stringify(value));
  return createTokenizer({ tokenizer: bytes(tokenizer), config: bytes({ eos_token: "<|end|>" }) });
}

/** Predicts the byte that followed the longest known context; its "KV cache" is the list of tokens. */
export class NgramSession {
  kind = "decoder";
  backend = "ngram";
  threads = 1;
  /** @type {number[]} */
  tokens = [];
  /** Lengths of all runs, to see what was reused. @type {number[]} */
  runs = [];
  /** @type {Map<string, number[]>} */
  #table = new Map();

  /** @param {string[]} texts each is learnt with an end token after it */
  constructor(texts) {
    for (const text of texts) {
      const ids = [...byteTokenizer().encode(text), END_ID];
      for (let at = 0; at < ids.length; at += 1) {
        for (let order = 0; order <= Math.min(ORDER, at); order += 1) {
          const key = ids.slice(at - order, at).join();
          this.#table.set(key, [...(this.#table.get(key) ?? []), ids[at]]);
        }
      }
    }
  }

  get length() {
    return this.tokens.length;
  }

  async prefill(ids) {
    this.runs.push(ids.length);
    this.tokens.push(...ids);
    for (let order = Math.min(ORDER, this.tokens.length); ; order -= 1) {
      const followers = this.#table.get(this.tokens.slice(this.tokens.length - order).join());
      if (!followers) continue;
      const logits = new Float32Array(VOCAB_SIZE).fill(-20);
      for (const id of followers) logits[id] = Math.log(Math.exp(logits[id]) + 1);
      return logits;
    }
  }

  decode(id) {
    return this.prefill([id]);
  }

  async truncate(length) {
    this.tokens.length = Math.min(this.tokens.length, length);
  }

  async reset() {
    this.tokens = [];
  }

  memoryBytes() {
    return 1000 + this.tokens.length;
  }

  async dispose() {}
}
