/** Finds the prepared models that tests read real tokenizers from. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ChatTemplate, findChatTemplate } from "../../../static/text/chat_template.js";
import { createTokenizer } from "../../../static/text/tokenizer.js";

const MODELS = fileURLToPath(new URL("../../../models/", import.meta.url));

/** @param {string} model @returns {string | false} a reason to skip, for node:test's `skip` option */
export function missing(model) {
  if (existsSync(`${MODELS}${model}/tokenizer.json`)) return false;
  return `models/${model} is not prepared: run "make models" first`;
}

/** @param {string} model */
export function openTokenizer(model) {
  return createTokenizer({
    tokenizer: readFileSync(`${MODELS}${model}/tokenizer.json`),
    config: readFileSync(`${MODELS}${model}/tokenizer_config.json`),
  });
}

/** @param {string} model */
export function openChatTemplate(model) {
  const tokenizer = openTokenizer(model);
  const path = `${MODELS}${model}/chat_template.jinja`;
  const file = existsSync(path) ? readFileSync(path, "utf8") : null;
  const source = findChatTemplate(file, tokenizer.chatTemplate);
  return source === null ? null : new ChatTemplate(source, tokenizer.specialTokens);
}
