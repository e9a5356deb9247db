/** Owns the settings of one answer: what they are, what they may be, and what a model's files say when they are left open. */

import { FeatherweightError } from "../errors.js";

/**
 * @typedef {object} GenerateOptions
 * @property {number} [maxNewTokens] default 1024; the answer also ends when the context is full
 * @property {number} [temperature] 0 takes the most likely token each time (the default, unless the model says otherwise)
 * @property {number} [topK] keep the k most likely; 0 keeps all
 * @property {number} [topP] keep the fewest most likely that together reach this probability; 1 keeps all
 * @property {number} [minP] keep those at least this fraction as likely as the most likely one; 0 keeps all
 * @property {number} [repetitionPenalty] above 1 makes tokens that were there before less likely
 * @property {number} [seed] an integer: the same seed, prompt and settings give the same answer; default: a random one
 * @property {string | readonly string[]} [stop] the answer ends before the first of these
 */

/**
 * What a model's generation_config.json recommends. Its sampling settings count only where it says `do_sample`.
 * @param {Record<string, any>} config
 * @returns {GenerateOptions}
 */
export function recommendedOptions(config) {
  if (!config.do_sample) return {};
  return {
    temperature: config.temperature ?? 1,
    topK: config.top_k ?? 50,
    topP: config.top_p ?? 1,
    minP: config.min_p ?? 0,
    repetitionPenalty: config.repetition_penalty ?? 1,
  };
}

/**
 * @param {GenerateOptions} options what is undefined is left open
 * @param {GenerateOptions} defaults
 * @returns {Required<Omit<GenerateOptions, "stop">> & {stop: readonly string[]}} complete and checked
 * @throws {FeatherweightError} unsupported
 */
export function checkGenerateOptions(options, defaults) {
  const stop = options.stop ?? defaults.stop ?? [];
  const settings = {
    maxNewTokens: options.maxNewTokens ?? defaults.maxNewTokens ?? 1024,
    temperature: options.temperature ?? defaults.temperature ?? 0,
    topK: options.topK ?? defaults.topK ?? 0,
    topP: options.topP ?? defaults.topP ?? 1,
    minP: options.minP ?? defaults.minP ?? 0,
    repetitionPenalty: options.repetitionPenalty ?? defaults.repetitionPenalty ?? 1,
    seed: options.seed ?? defaults.seed ?? crypto.getRandomValues(new Uint32Array(1))[0],
    stop: typeof stop === "string" ? [stop] : stop,
  };
  demand(settings.maxNewTokens >= 1, "maxNewTokens", "at least 1");
  demand(settings.temperature >= 0 && settings.temperature < Infinity, "temperature", "0 or more");
  demand(Number.isInteger(settings.topK) && settings.topK >= 0, "topK", "a whole number, 0 or more");
  demand(settings.topP > 0 && settings.topP <= 1, "topP", "above 0 and at most 1");
  demand(settings.minP >= 0 && settings.minP <= 1, "minP", "from 0 to 1");
  demand(settings.repetitionPenalty > 0, "repetitionPenalty", "above 0");
  demand(Number.isInteger(settings.seed), "seed", "a whole number");
  demand(settings.stop.every((text) => typeof text === "string" && text !== ""), "stop", "a text or texts, none empty");
  return settings;
}

/** @param {boolean} met @param {string} name @param {string} rule */
function demand(met, name, rule) {
  if (!met) throw new FeatherweightError("unsupported", `${name} must be ${rule}.`, { option: name });
}
