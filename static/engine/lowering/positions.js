/** Owns the recognition of positions: rows of numbers that a graph makes from the lengths of its inputs. */

import { scalarOf } from "../constants.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** Which positions a Range counts. @typedef {"new" | "all"} Positions */

/**
 * Whether a value is a Range over the tokens of a run ("new"), or over these and all that the cache holds before them
 * ("all"); without a cache one is the other.
 * @param {Graph} graph
 * @param {string | undefined} name
 * @param {Positions} which
 */
export function isPositions(graph, name, which) {
  const range = graph.made(name, "Range");
  if (!range || scalarOf(graph, range.inputs[2]) !== 1) return false;
  const [start, stop] = range.inputs;
  const fromZero = scalarOf(graph, start) === 0;
  if (fromZero && isLength(graph, stop, "new")) return true;
  const whole = isLength(graph, stop, "all");
  return whole && (which === "all" ? fromZero : isLength(graph, start, "past"));
}

/**
 * A length as a number: of the new tokens, of those in the cache, or of both together.
 * @param {Graph} graph
 * @param {string} name
 * @param {"new" | "past" | "all"} which
 * @returns {boolean}
 */
function isLength(graph, name, which) {
  const add = graph.made(name, "Add");
  if (add) return which === "all" && isLength(graph, add.inputs[0], "past") && isLength(graph, add.inputs[1], "new");
  const length = graph.made(name, "Reshape")?.inputs[0];
  const difference = graph.made(length, "Sub");
  if (difference) return which === "past" && isShapeOf(graph, difference.inputs[0], "all") && isShapeOf(graph, difference.inputs[1], "new");
  return isShapeOf(graph, length, which);
}

/** @param {Graph} graph @param {string | undefined} name @param {"new" | "past" | "all"} which */
function isShapeOf(graph, name, which) {
  const shape = graph.made(name, "Shape");
  if (!shape || !graph.inputs.has(shape.inputs[0]) || shape.attributes.end !== Number(shape.attributes.start) + 1) return false;
  const [input] = shape.inputs;
  if (which === "past") return shape.attributes.start === 2 && isOwnCache(input);
  return shape.attributes.start === 1 && input === (which === "new" ? "input_ids" : "attention_mask");
}

/** Of a decoder's own tokens, beside the cache of an encoder's. @param {string} input */
export function isOwnCache(input) {
  return /^past_key_values\.\d+\.decoder\.(key|value)$/.test(input);
}

/** Of what a decoder knows about the encoder's tokens. @param {string} input */
export function isTextCache(input) {
  return /^past_key_values\.\d+\.encoder\.(key|value)$/.test(input);
}
