/** Owns the plain words for the field's terms: tasks, variants, verdicts, backends. Pure. */
import { formatBytes, formatRate, formatSeconds } from "./format.js";
import { weightClass } from "./scale.js";

/** In the order in which the page lists them. @type {Record<string, string>} */
const TASKS = {
  "text-generation": "Chat",
  "feature-extraction": "Search and sorting",
  "sentence-similarity": "Search and sorting",
  "text-classification": "Sorting",
  "token-classification": "Labelling of words",
  "question-answering": "Answers from a text",
  "fill-mask": "Filling of gaps",
  "text2text-generation": "Rewriting",
};

/** Labels that taggers are trained with most. @type {Record<string, string>} */
const LABELS = {
  PER: "person",
  PERSON: "person",
  LOC: "place",
  GPE: "country or town",
  ORG: "organisation",
  MISC: "other name",
  DATE: "date",
  TIME: "time",
  MONEY: "sum of money",
  NOUN: "noun",
  PROPN: "name",
  VERB: "verb",
  AUX: "auxiliary verb",
  ADJ: "adjective",
  ADV: "adverb",
  PRON: "pronoun",
  ADP: "preposition",
  DET: "article",
  NUM: "number",
  PUNCT: "punctuation",
};

/** @type {Record<string, string>} */
const PRECISIONS = {
  fp32: "full precision",
  fp16: "half precision",
  q8: "8 bits",
  q4: "4 bits",
  q4f16: "4 bits, half-precision steps",
};

/** Those that are not written as people write them. @type {Record<string, string>} */
const LICENSES = {
  "apache-2.0": "Apache 2.0",
  mit: "MIT",
  "cc-by-4.0": "CC BY 4.0",
  gemma: "Gemma licence",
};

/** @type {Record<string, string>} */
const BACKENDS = {
  wasm: "processor, own engine",
  "ort-wasm": "processor, ONNX Runtime",
  "ort-webgpu": "graphics, ONNX Runtime",
};

/** @param {string} task */
export function taskName(task) {
  return TASKS[task] ?? task;
}

/** Where models for a task stand in a list, what is known first. @param {string} task */
export function taskPlace(task) {
  const place = Object.keys(TASKS).indexOf(task);
  return place < 0 ? Infinity : place;
}

/** @param {string} label @returns {string} empty: the label says it itself, or only its model knows */
export function labelName(label) {
  return LABELS[label] ?? "";
}

/** @param {string} license an SPDX identifier in any case, or "unknown" */
export function licenseName(license) {
  if (license === "unknown") return "licence unknown";
  return LICENSES[license.toLowerCase()] ?? license;
}

/** @param {string} backend */
export function backendName(backend) {
  return BACKENDS[backend] ?? backend;
}

/** @param {string} backend */
export function backendPlace(backend) {
  return backend.endsWith("webgpu") ? "on the graphics processor" : "on the processor";
}

/** @param {{dtype: string, download_bytes: number}} variant */
export function describeVariant({ dtype, download_bytes: bytes }) {
  const precision = PRECISIONS[dtype];
  return `${dtype}${precision ? `, ${precision}` : ""}: ${formatBytes(bytes)}`;
}

/**
 * What size of model a device carries.
 * @param {import("../device/device_class.js").DeviceClass} deviceClass
 * @returns {[string, string]} in a few words, and in a sentence
 */
export function describeClass({ bytes, limit }) {
  const size = formatBytes(bytes);
  const beyond = limit === "speed" ? "larger ones answer more slowly" : "larger ones do not fit its memory";
  return [`Carries up to ${weightClass(bytes)}s`, `Models of up to about ${size} answer here as fast as most people read; ${beyond}.`];
}

/**
 * A verdict as a sentence or two.
 * @param {import("../featherweight.js").Verdict} verdict
 */
export function describeVerdict({ supported, smooth, memory, decode_tokens_per_s: speed, ttft_s: first, plan }) {
  const need = `${formatBytes(memory.need)} of memory`;
  if (!supported) return `Does not fit this device: ${need}, and there is room for ${formatBytes(memory.limit)}.`;
  const verdict = smooth === null ? "Fits this device" : smooth ? "Runs well here" : "Runs slowly here";
  if (speed) return `${verdict}: ${range(speed, formatRate)} tokens a second, ${need}.`;
  if (first) return `${verdict}: ${range(first, formatSeconds)} for ${plan.prompt_tokens} tokens of text, ${need}.`;
  return `${verdict}: ${need}.`;
}

/**
 * @param {[number, number]} bounds
 * @param {(value: number) => string} format
 */
function range([low, high], format) {
  const [from, to] = [format(low), format(high)];
  return from === to ? from : `${from} to ${to}`;
}
