/** Owns the way from a conversation to the prompt that a model was trained on; wraps @huggingface/jinja. */

import { FeatherweightError } from "../errors.js";
import { Template } from "../vendor/huggingface/jinja.js";

/** @typedef {{role: "system" | "user" | "assistant" | string, content: string}} Message */

export class ChatTemplate {
  #template;
  #specialTokens;

  /**
   * @param {string} source Jinja
   * @param {Record<string, string>} [specialTokens] bos_token, eos_token, ...: variables of the template
   * @throws {FeatherweightError} unsupported
   */
  constructor(source, specialTokens = {}) {
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw unusable(error);
    }
    this.#specialTokens = specialTokens;
  }

  /**
   * @param {Message[]} messages a system prompt is a first message with the role "system"
   * @param {{addGenerationPrompt?: boolean}} [options] whether the prompt ends where the answer begins (default: yes)
   * @returns {string} a prompt that contains the special tokens already: encode it without adding them
   * @throws {FeatherweightError} unsupported, with the template's own words where it refuses a conversation
   */
  render(messages, { addGenerationPrompt = true } = {}) {
    try {
      return this.#template.render({ ...this.#specialTokens, messages, add_generation_prompt: addGenerationPrompt });
    } catch (error) {
      throw unusable(error);
    }
  }
}

/**
 * The template of a model: its chat_template.jinja if it has one, else what its tokenizer_config.json says.
 * @param {string | null} file the content of chat_template.jinja
 * @param {unknown} configured tokenizer_config.json's chat_template: a text or [{name, template}]
 * @returns {string | null} Jinja; null for a model that knows no conversations
 */
export function findChatTemplate(file, configured) {
  if (file !== null) return file;
  if (typeof configured === "string") return configured;
  if (!Array.isArray(configured)) return null;
  const named = configured.find((entry) => entry.name === "default") ?? configured[0];
  return named?.template ?? null;
}

/** @param {unknown} error */
function unusable(error) {
  const reason = error instanceof Error ? error.message : String(error);
  return new FeatherweightError("unsupported", `The model's chat template refuses: ${reason}`, {}, { cause: error });
}
