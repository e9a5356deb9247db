/** Owns the turning of a stream of token ids into text, piece by piece, without ever splitting a character. */

/**
 * @typedef {import("./tokenizer.js").Tokenizer} Tokenizer
 * @typedef {import("./tokenizer.js").DecoderConfig} DecoderConfig
 */

/**
 * What a token contributes: bytes that may be a part of a character, or whole text that also ends a run of bytes.
 * @typedef {Uint8Array | string} TokenContent
 */

/**
 * The pieces of one answer. Joined, they equal the tokenizer's decode of all ids; the work per token does not depend on
 * how many came before.
 */
export class StreamingDetokenizer {
  #tokenizer;
  #skipSpecialTokens;
  #contentOf;
  #decoder = utf8();
  #stripLeft;
  #startPending = true;
  /** @type {number | null} */
  #previous = null;

  /**
   * @param {Tokenizer} tokenizer
   * @param {{skipSpecialTokens?: boolean}} [options] default: special tokens are left out
   */
  constructor(tokenizer, { skipSpecialTokens = true } = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecialTokens = skipSpecialTokens;
    const reader = byteReader(tokenizer);
    this.#contentOf = reader?.contentOf ?? null;
    this.#stripLeft = reader?.stripLeft ?? 0;
  }

  /**
   * @param {number} id
   * @returns {string} the text that this token completes; empty while a character is still incomplete
   */
  push(id) {
    if (this.#skipSpecialTokens && this.#tokenizer.isSpecial(id)) return "";
    if (!this.#contentOf) return this.#pushPair(id);
    const content = this.#contentOf(id);
    if (typeof content !== "string") return this.#strip(this.#decoder.decode(content, { stream: true }));
    return this.#strip(this.#endRun() + content);
  }

  /** @returns {string} what was held back: U+FFFD for a character that stayed incomplete, else nothing */
  flush() {
    return this.#contentOf ? this.#strip(this.#endRun()) : "";
  }

  #endRun() {
    const rest = this.#decoder.decode();
    this.#decoder = utf8();
    return rest;
  }

  /** Llama's decoder drops the space that its encoder put before the text. @param {string} text */
  #strip(text) {
    if (!this.#startPending || text === "") return text;
    this.#startPending = false;
    let start = 0;
    while (start < this.#stripLeft && text[start] === " ") start += 1;
    return text.slice(start);
  }

  /**
   * Decoders that make no bytes (WordPiece, Metaspace): how a token is spelled depends on whether one precedes it.
   * @param {number} id
   */
  #pushPair(id) {
    const before = this.#previous;
    this.#previous = id;
    const options = { skipSpecialTokens: false };
    if (before === null) return this.#tokenizer.decode([id], options);
    return this.#tokenizer.decode([before, id], options).slice(this.#tokenizer.decode([before], options).length);
  }
}

/**
 * Reads tokens as bytes where the decoder is one that makes text of bytes: byte-level BPE (GPT-2, Llama 3, SmolLM, Qwen)
 * or SentencePiece with byte fallback (Llama 2, Gemma).
 * @param {Tokenizer} tokenizer
 * @returns {{contentOf: (id: number) => TokenContent, stripLeft: number} | null} null for other decoders
 */
function byteReader(tokenizer) {
  const steps = flatten(tokenizer.decoderConfig);
  const types = steps.map((step) => step.type);
  if (types.length === 1 && types[0] === "ByteLevel") {
    return { contentOf: (id) => byteLevelContent(tokenizer, id), stripLeft: 0 };
  }
  if (!types.includes("ByteFallback") || !types.every((type) => FALLBACK_STEPS.includes(type))) return null;
  const replacements = steps.filter((step) => step.type === "Replace").map((step) => [step.pattern?.String, step.content]);
  const strips = steps.filter((step) => step.type === "Strip");
  const known = replacements.every(([from]) => typeof from === "string");
  if (!known || strips.some((step) => step.content !== " " || step.stop > 0)) return null;
  return {
    contentOf: (id) => fallbackContent(tokenizer.tokenOf(id) ?? "", replacements),
    stripLeft: strips.reduce((sum, step) => sum + step.start, 0),
  };
}

const FALLBACK_STEPS = ["Replace", "ByteFallback", "Fuse", "Strip"];

/** @param {Tokenizer} tokenizer @param {number} id @returns {TokenContent} */
function byteLevelContent(tokenizer, id) {
  const token = tokenizer.tokenOf(id) ?? "";
  if (tokenizer.isAdded(id)) return token;
  const bytes = new Uint8Array(token.length);
  let length = 0;
  for (const character of token) bytes[length++] = BYTE_OF.get(character) ?? 0;
  return bytes.subarray(0, length);
}

/** @param {string} token @param {string[][]} replacements @returns {TokenContent} */
function fallbackContent(token, replacements) {
  if (/^<0x[0-9A-Fa-f]{2}>$/.test(token)) return Uint8Array.of(parseInt(token.slice(3, 5), 16));
  return replacements.reduce((text, [from, to]) => text.replaceAll(from, to), token);
}

/** @param {DecoderConfig | null} config @returns {DecoderConfig[]} */
function flatten(config) {
  if (!config) return [];
  return config.type === "Sequence" ? config.decoders.flatMap(flatten) : [config];
}

/** A byte order mark is text like any other here. */
function utf8() {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

/**
 * Byte-level BPE spells each byte as one printable character: those that are printable in Latin-1 stand for themselves,
 * the others are counted up from U+0100 (GPT-2's bytes_to_unicode).
 */
const BYTE_OF = new Map();
for (let byte = 0, next = 0x100; byte < 0x100; byte += 1) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  BYTE_OF.set(String.fromCharCode(printable ? byte : next++), byte);
}
