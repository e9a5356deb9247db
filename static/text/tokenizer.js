/** Owns the way from text to token ids and back; wraps @huggingface/tokenizers. */

import { FeatherweightError } from "../errors.js";
import { Tokenizer as HuggingFaceTokenizer } from "../vendor/huggingface/tokenizers.mjs";
import { readTokenizerFile } from "./tokenizer_file.js";

/**
 * The bytes of a model's text files; `template` is chat_template.jinja.
 * @typedef {{tokenizer: Uint8Array, config: Uint8Array | null, template?: Uint8Array | null}} TokenizerFiles
 */

/** A step of tokenizer.json's "decoder". @typedef {{type: string, [field: string]: any}} DecoderConfig */

/**
 * @param {TokenizerFiles} files
 * @returns {Tokenizer}
 * @throws {FeatherweightError} unsupported
 */
export function createTokenizer({ tokenizer, config }) {
  try {
    return new Tokenizer(readTokenizerFile(tokenizer), config ? JSON.parse(new TextDecoder().decode(config)) : {});
  } catch (error) {
    throw new FeatherweightError(
      "unsupported",
      `The model's tokenizer cannot be used here: ${error instanceof Error ? error.message : error}`,
      {},
      { cause: error },
    );
  }
}

export class Tokenizer {
  #tokenizer;
  /** @type {Set<number>} */
  #special = new Set();
  /** @type {Set<number>} */
  #added = new Set();

  /**
   * @param {import("./tokenizer_file.js").TokenizerFile} file
   * @param {any} config the content of tokenizer_config.json
   */
  constructor({ json: tokenizer, model }, config) {
    if (model) {
      this.#tokenizer = new HuggingFaceTokenizer({ ...tokenizer, model: { type: "BPE", vocab: {}, merges: [] } }, config);
      for (const { id, content } of tokenizer.added_tokens) model.tokens_to_ids.set(content, id);
      this.#tokenizer.model = model;
    } else {
      this.#tokenizer = new HuggingFaceTokenizer(tokenizer, config);
      // It has maps of its own by now; the lists that they were made of would take as much memory again.
      for (const list of [tokenizer.model, /** @type {any} */ (this.#tokenizer).model]) list.merges = null;
      tokenizer.model.vocab = null;
    }
    for (const [id, token] of this.#tokenizer.get_added_tokens_decoder()) {
      this.#added.add(id);
      if (token.special) this.#special.add(id);
    }
    for (const content of config.additional_special_tokens ?? []) {
      const id = this.#tokenizer.token_to_id(contentOf(content) ?? "");
      if (id !== undefined) this.#special.add(id);
    }
    /** @type {DecoderConfig | null} */
    this.decoderConfig = tokenizer.decoder ?? null;
    /** Texts of the special tokens that templates may name: bos_token, eos_token, ... @type {Record<string, string>} */
    this.specialTokens = {};
    for (const name of ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]) {
      const content = contentOf(config[name]);
      if (content !== null) this.specialTokens[name] = content;
    }
    /** tokenizer_config.json's chat_template: a Jinja text, a list of named ones, or nothing. @type {unknown} */
    this.chatTemplate = config.chat_template ?? null;
  }

  /**
   * @param {string} text
   * @param {{addSpecialTokens?: boolean}} [options] whether the model's own start and end tokens are added (default: yes)
   * @returns {number[]}
   */
  encode(text, { addSpecialTokens = true } = {}) {
    return this.#tokenizer.encode(text, { add_special_tokens: addSpecialTokens }).ids;
  }

  /**
   * Two texts as one sequence, as the model's tokenizer joins them.
   * @param {string} first
   * @param {string} second
   * @returns {{ids: number[], types: number[]}} `types` is 1 for tokens of the second, where the model tells them apart
   */
  encodePair(first, second) {
    const { ids, token_type_ids: types } = this.#tokenizer.encode(first, { text_pair: second, return_token_type_ids: true });
    return { ids, types };
  }

  /**
   * Never "cleans up" spaces: what was encoded comes back as it was, as far as the tokenizer keeps it.
   * @param {number[]} ids
   * @param {{skipSpecialTokens?: boolean}} [options] default: special tokens are left out
   * @returns {string}
   */
  decode(ids, { skipSpecialTokens = true } = {}) {
    const kept = skipSpecialTokens ? ids.filter((id) => !this.#special.has(id)) : ids;
    if (kept.length === 0) return "";
    return this.#tokenizer.decode(kept, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }

  /**
   * The token as the vocabulary spells it ("Ġthe").
   * @param {number} id
   * @returns {string | undefined}
   */
  tokenOf(id) {
    return this.#tokenizer.id_to_token(id);
  }

  /**
   * @param {string} token
   * @returns {number | undefined}
   */
  idOf(token) {
    return this.#tokenizer.token_to_id(token);
  }

  /** @param {number} id */
  isSpecial(id) {
    return this.#special.has(id);
  }

  /** Whether the token stands for a part of a text, be it an unknown one. @param {number} id */
  isText(id) {
    return !this.#special.has(id) || this.tokenOf(id) === this.specialTokens.unk_token;
  }

  /** Whether the token was added to the vocabulary beside the trained ones. @param {number} id */
  isAdded(id) {
    return this.#added.has(id);
  }
}

/** A special token is written as a text or as {content, ...}. @param {any} token @returns {string | null} */
function contentOf(token) {
  return typeof token === "string" ? token : (token?.content ?? null);
}
