/** Owns the putting together of a task from a model's small files and its session. */

import { Encoder } from "../tasks/encoder.js";
import { recommendedOptions } from "../tasks/generate_options.js";
import { TextGeneration } from "../tasks/text_generation.js";
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
  const tokenizer = await bytesOf("tokenizer.json");
  if (!tokenizer) throw new FeatherweightError("bad_manifest", "The model lists no tokenizer.json.");
  const tokenizerFiles = { tokenizer, config: await bytesOf("tokenizer_config.json") };
  return {
    tokenizerFiles,
    tokenizer: createTokenizer(tokenizerFiles),
    chatTemplate: await textOf("chat_template.jinja"),
    config: JSON.parse((await textOf("config.json")) ?? "{}"),
    generationConfig: JSON.parse((await textOf("generation_config.json")) ?? "{}"),
  };
}

/**
 * @param {object} parts
 * @param {import("../manifest/manifest.js").Manifest} parts.manifest
 * @param {import("../backends/backend.js").Session} parts.session
 * @param {TextFiles} parts.texts
 * @param {number} parts.contextLength
 * @returns {TextGeneration | Encoder}
 */
export function createTask({ manifest, session, texts, contextLength }) {
  const { model } = manifest;
  const { tokenizer } = texts;
  const shared = { tokenizer, clock: () => performance.now(), pause: nextTask };
  if (session.kind === "encoder") {
    return new Encoder({
      ...shared,
      session,
      pooling: model.pooling,
      labels: model.labels,
      maxTokens: Math.min(model.pooling?.maxTokens ?? contextLength, contextLength),
    });
  }
  const template = findChatTemplate(texts.chatTemplate, tokenizer.chatTemplate);
  return new TextGeneration({
    ...shared,
    session,
    chatTemplate: template === null ? null : new ChatTemplate(template, tokenizer.specialTokens),
    endIds: endIds(texts),
    defaults: recommendedOptions(texts.generationConfig),
    contextLength,
    vocabSize: model.vocabSize,
  });
}

/** @param {TextFiles} texts @returns {Set<number>} */
function endIds({ generationConfig, config, tokenizer }) {
  const own = tokenizer.idOf(tokenizer.specialTokens.eos_token ?? "");
  const ids = generationConfig.eos_token_id ?? config.eos_token_id ?? own ?? [];
  return new Set([ids].flat());
}
