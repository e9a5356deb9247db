/** Owns the choice among a model's variants, and what the next smaller and the next larger would give. */

import { FeatherweightError } from "../errors.js";
import { describeAlternative } from "./explanation.js";
import { fitVariant } from "./fit.js";

/**
 * @typedef {import("../manifest/manifest.js").Manifest} Manifest
 * @typedef {import("../manifest/manifest.js").Variant} Variant
 * @typedef {import("./fit.js").Weighing} Weighing
 */

/**
 * What another variant would give in place of the chosen one.
 * @typedef {object} Alternative
 * @property {string} dtype
 * @property {boolean} supported
 * @property {boolean | null} smooth
 * @property {number} download_bytes of the whole variant
 * @property {number} memory_bytes
 * @property {[number, number] | null} ttft_s
 * @property {[number, number] | null} decode_tokens_per_s
 */

/**
 * By download; null where there is none.
 * @typedef {{smaller: Alternative | null, larger: Alternative | null}} Alternatives
 */

/** @typedef {Weighing & {alternatives: Alternatives}} Verdict */

/** Smallest download first, then those that every backend runs. */
const DTYPE_PREFERENCE = ["q4", "q8", "q4f16", "fp16", "fp32"];

/**
 * Those that are known here, the preferred first.
 * @template {{dtype: string}} T
 * @param {readonly T[]} variants
 * @returns {T[]}
 */
export function byPreference(variants) {
  return DTYPE_PREFERENCE.flatMap((dtype) => variants.filter((variant) => variant.dtype === dtype));
}

/**
 * @param {Manifest} manifest
 * @param {string} [dtype] without it: the first that the manifest has of q4, q8, q4f16, fp16, fp32
 * @returns {Variant}
 * @throws {FeatherweightError} not_found
 */
export function chooseVariant(manifest, dtype) {
  if (dtype !== undefined) return manifest.variant(dtype);
  const [preferred] = byPreference(manifest.variants);
  if (!preferred) throw new FeatherweightError("not_found", `${manifest.model.name} offers no variant that is known here.`);
  return preferred;
}

/**
 * @typedef {object} ModelFacts
 * @property {string} [dtype] without it the best variant is chosen
 * @property {Readonly<Record<string, number>>} [presentBytes] by dtype: what of the variant is on this device already
 */

/**
 * Weighs a variant of a model, and says what its neighbours would give.
 *
 * Without `dtype` it is the first of q4, q8, q4f16, fp16, fp32 that fits and is smooth, as far as is known; where none is
 * smooth the fastest that fits; where none fits the one that needs the least memory.
 * @param {Omit<import("./fit.js").FitFacts, "variant" | "presentBytes"> & ModelFacts} facts `ghost` is of the variant that
 *   chooseVariant gives for `dtype`
 * @returns {Verdict}
 * @throws {FeatherweightError} not_found
 */
export function fitModel({ dtype, presentBytes = {}, ghost, ...facts }) {
  const { variants } = facts.manifest;
  const tried = chooseVariant(facts.manifest, dtype);
  const weighings = new Map(
    variants.map((variant) => [
      variant.dtype,
      fitVariant({ ...facts, variant, presentBytes: presentBytes[variant.dtype], ghost: variant === tried ? ghost : null }),
    ]),
  );
  /** @param {{dtype: string}} variant */
  const of = (variant) => /** @type {Weighing} */ (weighings.get(variant.dtype));
  const chosen = dtype === undefined ? best(byPreference(variants).map(of)) : of(tried);
  const bySize = [...variants].sort((a, b) => a.downloadBytes - b.downloadBytes).map(of);
  const at = bySize.indexOf(chosen);
  const [smaller, larger] = [at - 1, at + 1].map((place) => (bySize[place] ? alternative(bySize[place]) : null));
  const why = [...chosen.why];
  if (smaller) why.push(describeAlternative("smaller", smaller, chosen.plan));
  if (larger) why.push(describeAlternative("larger", larger, chosen.plan));
  return { ...chosen, why, alternatives: { smaller, larger } };
}

/** @param {readonly Weighing[]} weighings at least one, the preferred first */
function best(weighings) {
  const fitting = weighings.filter(({ supported }) => supported);
  const smooth = fitting.find(({ smooth }) => smooth !== false);
  if (smooth) return smooth;
  if (fitting.length > 0) return fitting.reduce((one, other) => (speed(other) > speed(one) ? other : one));
  return weighings.reduce((one, other) => (other.memory.need < one.memory.need ? other : one));
}

/** Tokens a second, of the answer or for encoders of the text. @param {Weighing} weighing */
function speed({ expected }) {
  return expected?.decode_tokens_per_s ?? expected?.prefill_tokens_per_s ?? 0;
}

/** @param {Weighing} weighing @returns {Alternative} */
function alternative({ plan, supported, smooth, download, memory, ttft_s, decode_tokens_per_s }) {
  return { dtype: plan.dtype, supported, smooth, download_bytes: download.bytes, memory_bytes: memory.need, ttft_s, decode_tokens_per_s };
}
