/** Owns the putting together of a task from a model's small files and its session. */

import { Encoder } from "../tasks/encoder.js";
import { FillMask } from "../tasks/fill_mask.js";
import { recommendedOptions } from "../tasks/generate_options.js";
import { QuestionAnswering } from "../tasks/question_answering.js";
import { TextGeneration } from "../tasks/text_generation.js";
import { TextToText } from "../tasks/text_to_text.js";
import { TokenClassification } from "../tasks/token_classification.js";
import { FeatherweightError } from "../errors.js";
import { ChatTemplate, findChatTemplate } from "../text/chat_template.js";
import { createTokenizer } from "../text/tokenizer.js";
import { nextTask } from "./bridge.js";

/**
 * @typedef {object} TextFiles
 * @property {import("../text/tokenizer.js").TokenizerFiles} tokenizerFiles
 * @property {import("../text/tokenizer.js").Tokenizer} tokenizer
 * @property {string | null} chatTemplate chat_template.jinja
 * @property {Record<string, any>} config config.json
 * @property {Record<string, any>} generationConfig generation_config.json
 */

/**
 * Reads them, and builds the tokenizer while the weights are still on their way.
 * @param {readonly string[]} paths the variant's files
 * @param {(path: string) => Promise<Uint8Array>} read
 * @returns {Promise<TextFiles>}
 */
export async function readTextFiles(paths, read) {
  /** @param {string} path */
  const bytesOf = async (path) => (paths.includes(path) ? read(path) : null);
  /** @param {string} path */
  const textOf = async (path) => {
    const bytes = await bytesOf(path);
    return bytes && new TextDecoder().decode(bytes);
  };
  const [tokenizer, config, chatTemplate, modelConfig, generationConfig] = await Promise.all([
    bytesOf("tokenizer.json"),
    bytesOf("tokenizer_config.json"),
    textOf("chat_template.jinja"),
    textOf("config.json"),
    textOf("generation_config.json"),
  ]);
  if (!tokenizer) throw new FeatherweightError("bad_manifest", "The model lists no tokenizer.json.");
  const tokenizerFiles = { tokenizer, config };
  return {
    tokenizerFiles,
    tokenizer: createTokenizer(tokenizerFiles),
    chatTemplate,
    config: JSON.parse(modelConfig ?? "{}"),
    generationConfig: JSON.parse(generationConfig ?? "{}"),
  };
}

/**
 * How texts are put to a model: `chats` says whether it takes conversations, `maskToken` is what stands for a gap, and
 * `prefixes` are the beginnings that it was trained to answer ("summarize: ").
 * @typedef {{chats: boolean, maskToken: string | null, prefixes: string[]}} TextHabits
 */

/** @param {TextFiles} texts @returns {TextHabits} */
export function textHabits({ tokenizer, chatTemplate, config }) {
  const tasks = Object.values(config.task_specific_params ?? {});
  const prefixes = tasks.map((params) => params?.prefix).filter((prefix) => typeof prefix === "string" && prefix.trim() !== "");
  return {
    chats: findChatTemplate(chatTemplate, tokenizer.chatTemplate) !== null,
    maskToken: tokenizer.specialTokens.mask_token ?? null,
    prefixes: [...new Set(prefixes)],
  };
}

/** @typedef {TextGeneration | TextToText | Encoder | TokenClassification | QuestionAnswering | FillMask} Task */

/**
 * @param {object} parts
 * @param {import("../manifest/manifest.js").Manifest} parts.manifest
 * @param {import("../backends/backend.js").Session} parts.session
 * @param {TextFiles} parts.texts
 * @param {number} parts.contextLength
 * @returns {Task}
 */
export function createTask({ manifest, session, texts, contextLength }) {
  const { model } = manifest;
  const { tokenizer } = texts;
  const shared = { tokenizer, clock: () => performance.now(), pause: nextTask };
  if (session.kind === "encoder") {
    const maxTokens = Math.min(model.pooling?.maxTokens ?? contextLength, contextLength);
    return createEncoderTask(model, { ...shared, session, maxTokens });
  }
  const answering = { ...shared, endIds: endIds(texts), defaults: recommendedOptions(texts.generationConfig) };
  if (session.kind === "encoder-decoder") {
    return new TextToText({ ...answering, session, ...firstTokens(texts), contextLength });
  }
  const template = findChatTemplate(texts.chatTemplate, tokenizer.chatTemplate);
  return new TextGeneration({
    ...answering,
    session,
    chatTemplate: template === null ? null : new ChatTemplate(template, tokenizer.specialTokens),
    contextLength,
    vocabSize: model.vocabSize,
  });
}

/**
 * @param {import("../manifest/manifest.js").ModelFacts} model
 * @param {import("../tasks/encoder_runner.js").RunnerParts} parts
 */
function createEncoderTask({ task, pooling, labels }, parts) {
  if (task === "token-classification") return new TokenClassification({ ...parts, labels: labels ?? [] });
  if (task === "question-answering") return new QuestionAnswering(parts);
  if (task === "fill-mask") return new FillMask(parts);
  return new Encoder({ ...parts, pooling, labels });
}

/** What answers of an encoder-decoder begin with. @param {TextFiles} texts */
function firstTokens({ generationConfig, config }) {
  const said = { ...config, ...generationConfig };
  return { startId: said.decoder_start_token_id ?? said.bos_token_id ?? 0, forcedFirstId: said.forced_bos_token_id ?? null };
}

/** @param {TextFiles} texts @returns {Set<number>} */
function endIds({ generationConfig, config, tokenizer }) {
  const own = tokenizer.idOf(tokenizer.specialTokens.eos_token ?? "");
  const ids = generationConfig.eos_token_id ?? config.eos_token_id ?? own ?? [];
  return new Set([ids].flat());
}
