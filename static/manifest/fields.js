/**
 * Owns the checked reading of untrusted JSON values: each function returns the value with its type, or throws
 * "bad_manifest".
 */
import { FeatherweightError } from "../errors.js";

/** @typedef {Record<string, unknown>} JsonObject */

/**
 * @param {string} where path of the value inside the manifest
 * @param {string} rule what it must be
 * @returns {never}
 */
export function refuse(where, rule) {
  throw new FeatherweightError("bad_manifest", `manifest.json: ${where} ${rule}.`, { where });
}

/** @param {unknown} value @param {string} where @returns {JsonObject} */
export function asObject(value, where) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) refuse(where, "must be an object");
  return /** @type {JsonObject} */ (value);
}

/** @param {unknown} value @param {string} where @returns {unknown[]} */
export function asArray(value, where) {
  return Array.isArray(value) ? value : refuse(where, "must be an array");
}

/** @param {unknown} value @param {string} where @returns {string} */
export function asText(value, where) {
  return typeof value === "string" && value !== "" ? value : refuse(where, "must be a non-empty string");
}

/** @param {unknown} value @param {string} where @returns {string[]} */
export function asTexts(value, where) {
  return asArray(value, where).map((item, i) => asText(item, `${where}[${i}]`));
}

/** @param {unknown} value @param {string} where @returns {boolean} */
export function asFlag(value, where) {
  return typeof value === "boolean" ? value : refuse(where, "must be true or false");
}

/** @param {unknown} value @param {string} where @returns {number} an integer >= 0 that a double holds exactly */
export function asCount(value, where) {
  const fits = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  return fits ? value : refuse(where, "must be an integer, 0 or more");
}

/** @param {unknown} value @param {string} where @returns {string} */
export function asSha256(value, where) {
  const fits = typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
  return fits ? value : refuse(where, "must be 64 lower-case hex digits");
}

/**
 * @template T
 * @param {unknown} value
 * @param {string} where
 * @param {(value: unknown, where: string) => T} read
 * @returns {T | null}
 */
export function orNull(value, where, read) {
  return value === null || value === undefined ? null : read(value, where);
}

/**
 * A file's path inside the model directory: relative, forward slashes, no step upwards, nothing a URL would
 * reinterpret.
 * @param {unknown} value
 * @param {string} where
 * @returns {string}
 */
export function asRelativePath(value, where) {
  const path = asText(value, where);
  const steps = path.split("/");
  const clean = !/[\\\0]/.test(path) && steps.every((step) => step !== "" && step !== "." && step !== "..");
  return clean ? path : refuse(where, "must be a relative path without empty, '.' or '..' steps");
}
