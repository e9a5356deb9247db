/** Owns a loaded model on the page: a thin proxy of the worker that runs it. */

import { FeatherweightError } from "./errors.js";
import { createTokenizer } from "./text/tokenizer.js";
import { writeReceipt } from "./weigh_in.js";

/**
 * @typedef {import("./tasks/generate_options.js").GenerateOptions} GenerateOptions
 * @typedef {import("./tasks/answer.js").Piece} Piece
 * @typedef {import("./text/chat_template.js").Message} Message
 * @typedef {import("./tasks/encoder.js").Classification} Classification
 * @typedef {import("./tasks/token_classification.js").LabelledToken} LabelledToken
 * @typedef {import("./tasks/question_answering.js").Answer} Answer
 * @typedef {import("./tasks/fill_mask.js").Filling} Filling
 * @typedef {import("./tasks/run_stats.js").Stats} Stats
 * @typedef {import("./device/receipts.js").Receipt} Receipt
 */

/**
 * @typedef {object} LogitsOptions
 * @property {Float32Array<ArrayBuffer>} [into] earlier logits that are not needed any more: the array is moved away and its
 *   memory taken for the new ones, which otherwise are garbage by the megabyte
 * @property {AbortSignal} [signal]
 */

const TEXT_TO_TEXT = "text2text-generation";
const GENERATING = ["text-generation", TEXT_TO_TEXT];
/** Tasks of encoders that are about texts as a whole. */
const WHOLE_TEXT_TASKS = ["feature-extraction", "text-classification"];

/** A loaded model. Its calls run one after the other, in the order in which they were made. */
export class Model {
  #connection;
  #tokenizerFiles;
  #manifestUrl;
  /** Of an encoder's runs that have a receipt. @type {Set<string>} */
  #sizes = new Set();
  /** @type {import("./text/tokenizer.js").Tokenizer | null} */
  #tokenizer = null;

  /**
   * @param {import("./worker/bridge.js").Connection} connection
   * @param {import("./worker/model_worker.js").Loaded} loaded
   * @param {string} manifestUrl
   */
  constructor(connection, loaded, manifestUrl) {
    this.#connection = connection;
    this.#manifestUrl = manifestUrl;
    this.#tokenizerFiles = loaded.tokenizerFiles;
    this.id = loaded.id;
    this.name = loaded.name;
    this.task = loaded.task;
    this.dtype = loaded.dtype;
    this.backend = loaded.backend;
    this.threads = loaded.threads;
    this.contextLength = loaded.contextLength;
    /** Names of the classes of a model with a classification head, else null. */
    this.labels = loaded.labels;
    /** How texts are put to it: whether it chats, its mask token, the prefixes that it was trained with. */
    this.texts = loaded.texts;
    /** @type {Stats} */
    this.stats = loaded.stats;
    /** Predicted beside measured, of the last run that was long enough to tell. @type {Receipt | null} */
    this.receipt = null;
  }

  /**
   * Generates an answer token by token. Every sampled token makes one piece; a piece's text is empty while it could
   * still be the start of a character or of a stop string. Leaving the loop early stops the model.
   * @param {string | Message[]} input a text to continue or to transform, or a conversation to answer
   * @param {GenerateOptions & {signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<Piece, void, void>}
   */
  async *generate(input, { signal, ...options } = {}) {
    if (this.task !== TEXT_TO_TEXT) this.#demand("text-generation", "generate");
    for await (const event of this.#connection.stream("generate", { input, options }, { signal })) {
      const { piece, stats } = /** @type {{piece: Piece | null, stats: Stats}} */ (event);
      this.stats = stats;
      if (piece) yield piece;
    }
    this.receipt = (await writeReceipt({ ...this, manifestUrl: this.#manifestUrl }, this.stats)) ?? this.receipt;
  }

  /**
   * Runs tokens through the model after those that the KV cache holds.
   * @param {number[]} tokenIds at least one
   * @param {LogitsOptions} [options]
   * @returns {Promise<Float32Array>} the logits of the last position, one per entry of the vocabulary
   */
  prefill(tokenIds, options = {}) {
    this.#demand("text-generation", "prefill");
    return this.#logits("prefill", { tokenIds: Array.from(tokenIds) }, options);
  }

  /**
   * Runs one token through the model after those that the KV cache holds.
   * @param {number} tokenId
   * @param {LogitsOptions} [options]
   * @returns {Promise<Float32Array>} logits, one per entry of the vocabulary
   */
  decode(tokenId, options = {}) {
    this.#demand("text-generation", "decode");
    return this.#logits("decode", { tokenId }, options);
  }

  /**
   * Empties the KV cache. Calls made afterwards see it empty, whether this is awaited or not.
   * @returns {Promise<void>}
   */
  reset() {
    this.#demand("text-generation", "reset");
    return this.#connection.call("reset", {});
  }

  /**
   * Synchronous: the tokenizer is built on this thread when it is first asked for.
   * @param {string} text
   * @param {{addSpecialTokens?: boolean}} [options] whether the model's own start and end tokens are added (default: yes)
   * @returns {number[]}
   */
  tokenize(text, { addSpecialTokens = true } = {}) {
    return this.#pageTokenizer().encode(text, { addSpecialTokens });
  }

  /**
   * Synchronous, like tokenize.
   * @param {Iterable<number>} ids
   * @param {{skipSpecialTokens?: boolean}} [options] default: special tokens are left out
   * @returns {string}
   */
  detokenize(ids, { skipSpecialTokens = true } = {}) {
    return this.#pageTokenizer().decode(Array.from(ids), { skipSpecialTokens });
  }

  /**
   * With a classification head: the model's labels, most likely first. For an embedding model: `labels` of the
   * caller's, by the similarity of their embeddings to the text's.
   * @template {string | string[]} T
   * @param {T} input one text or several
   * @param {{labels?: string[], signal?: AbortSignal}} [options]
   * @returns {Promise<T extends string ? Classification[] : Classification[][]>} per text, best first
   */
  async classify(input, { labels, signal } = {}) {
    this.#demandEncoder("classify");
    return this.#each("classify", input, { labels }, signal);
  }

  /**
   * Embeddings, pooled and normalized as the manifest says.
   * @template {string | string[]} T
   * @param {T} input one text or several
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<T extends string ? Float32Array : Float32Array[]>} one vector per text
   */
  async embed(input, { signal } = {}) {
    this.#demandEncoder("embed");
    return this.#each("embed", input, {}, signal);
  }

  /**
   * Labels the tokens of a text, such as the names in it.
   * @template {string | string[]} T
   * @param {T} input one text or several
   * @param {{ignoreLabels?: string[], group?: boolean, signal?: AbortSignal}} [options] `ignoreLabels`: what is left out
   *   ("O"); `group`: joins neighbours of one label
   * @returns {Promise<T extends string ? LabelledToken[] : LabelledToken[][]>} per text, in the order of the text
   */
  async classifyTokens(input, { signal, ...options } = {}) {
    this.#demand("token-classification", "classifyTokens");
    return this.#each("classifyTokens", input, { options }, signal);
  }

  /**
   * The parts of a text that answer a question.
   * @param {string} question
   * @param {string} text longer ones than the model takes are read in parts
   * @param {{topK?: number, signal?: AbortSignal}} [options] `topK`: how many answers (1)
   * @returns {Promise<Answer[]>} the best first
   */
  answer(question, text, { signal, ...options } = {}) {
    this.#demand("question-answering", "answer");
    return this.#measured("answer", { question, text, options }, signal);
  }

  /**
   * Words for the mask in a text: the tokenizer's mask token, such as "[MASK]".
   * @template {string | string[]} T
   * @param {T} input one text or several, each with one mask
   * @param {{topK?: number, signal?: AbortSignal}} [options] `topK`: how many words (5)
   * @returns {Promise<T extends string ? Filling[] : Filling[][]>} per text, the best first
   */
  async fillMask(input, { signal, ...options } = {}) {
    this.#demand("fill-mask", "fillMask");
    return this.#each("fillMask", input, { options }, signal);
  }

  /**
   * Frees everything: the worker ends, and its memory with it. Calls still running are rejected with "aborted".
   * @returns {Promise<void>}
   */
  async dispose() {
    this.#connection.close();
  }

  /**
   * @param {string} method
   * @param {string | string[]} input
   * @param {object} args what the method takes beside the texts
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>} per text, or that of the one text
   */
  async #each(method, input, args, signal) {
    const texts = typeof input === "string" ? [input] : Array.from(input);
    const rows = await this.#measured(method, { texts, ...args }, signal);
    return typeof input === "string" ? rows[0] : rows;
  }

  /** @param {string} method @param {object} args @param {LogitsOptions} options */
  #logits(method, args, { into, signal }) {
    return into?.length ? this.#measured(method, { ...args, into }, signal, [into.buffer]) : this.#measured(method, args, signal);
  }

  /**
   * @param {string} method
   * @param {unknown} args
   * @param {AbortSignal} [signal]
   * @param {Transferable[]} [transfer] what of the arguments is moved
   */
  async #measured(method, args, signal, transfer) {
    const { value, stats } = await this.#connection.call(method, args, { signal, transfer });
    this.stats = stats;
    if (!GENERATING.includes(this.task)) await this.#noteReading(stats);
    return value;
  }

  /** An encoder's receipts: one for each size of run, because a search makes many alike. @param {Stats} stats */
  async #noteReading(stats) {
    const size = `${stats.texts} x ${Math.ceil(Math.log2(stats.prompt_tokens))}`;
    if (this.#sizes.has(size)) return;
    this.#sizes.add(size);
    this.receipt = (await writeReceipt({ ...this, manifestUrl: this.#manifestUrl }, stats)) ?? this.receipt;
  }

  /**
   * @param {string} task
   * @param {string} method
   */
  #demand(task, method) {
    if (this.task === task) return;
    throw new FeatherweightError("unsupported", `${this.name} is a ${this.task} model: it has no ${method}().`, {
      task: this.task,
    });
  }

  /** @param {string} method */
  #demandEncoder(method) {
    if (!WHOLE_TEXT_TASKS.includes(this.task)) this.#demand("text-classification", method);
  }

  #pageTokenizer() {
    this.#tokenizer ??= createTokenizer(this.#tokenizerFiles);
    return this.#tokenizer;
  }
}
