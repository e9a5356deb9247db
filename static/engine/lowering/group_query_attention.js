/** Owns the lowering of GroupQueryAttention: causal, over the KV cache, with rotary embedding when the graph asks for it. */

import { cannotLower } from "../graph.js";
import { SEES } from "../plan_format.js";
import { emitAttention } from "./attention.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("./context.js").Value} Value
 * @typedef {import("../graph.js").Node} Node
 */

/** A window that hides nothing: no context is longer. */
const LONGEST = 2 ** 31;
/** Operators whose output lies where their input does. */
const ALIASES = ["Reshape", "Cast", "Identity", "Squeeze", "Split"];
/** Lengths come from the engine itself, which has one sequence without padding. */
const LENGTH_OPERATORS = ["ReduceSum", "Sub", "Cast", "Shape", "Gather"];

/** @param {LoweringContext} context @param {Node} node */
export function lowerGroupQueryAttention(context, node) {
  const { num_heads: heads, kv_num_heads: kvHeads, do_rotary: rotates = 0, ...rest } = /** @type {Record<string, number>} */ (node.attributes);
  const { rotary_interleaved: interleaved = 0, local_window_size: window = -1, softcap = 0, smooth_softmax: smooth = 0 } = rest;
  if (interleaved || smooth > 0 || node.inputs.slice(9).some(Boolean)) {
    throw cannotLower(node, "interleaved rotation, smooth softmax and further inputs have no kernel");
  }
  if (![heads, kvHeads].every((count) => Number.isInteger(count) && count > 0)) throw cannotLower(node, "it has no heads");
  if (!(softcap >= 0 && softcap < Infinity)) throw cannotLower(node, `a soft cap of ${softcap} has no kernel`);
  for (const input of node.inputs.slice(5, 7)) {
    if (!isLength(context.graph, input)) throw cannotLower(node, `"${input}" is no length of the attention mask`);
  }
  const inputs = attentionInputs(context, node, heads, kvHeads);
  const rotary = rotates ? rotaryTables(context, node, inputs[0].width / heads) : null;
  emitAttention(context, node, inputs, { heads, kvHeads, sees: SEES.PAST, window: Math.min(Math.max(0, window), LONGEST), softcap, rotary });
}

/** Queries, keys and values, which may come side by side in one input. @param {LoweringContext} context @param {Node} node @param {number} heads @param {number} kvHeads @returns {Value[]} */
function attentionInputs(context, node, heads, kvHeads) {
  const names = node.inputs.slice(0, 3).filter(Boolean);
  // Queries and keys are rotated in place.
  const shared = names.slice(0, 2).find((name) => !isOwn(context.graph, name, node));
  if (node.attributes.do_rotary && shared) throw cannotLower(node, `"${shared}" is read elsewhere too`);
  const values = names.map((name) => context.value(name));
  if (names.length === 3) return values;
  const headDim = values[0].width / (heads + 2 * kvHeads);
  let offset = values[0].offset;
  return [heads, kvHeads, kvHeads].map((count) => {
    const part = { ...values[0], offset, width: count * headDim };
    offset += 4 * part.width;
    return part;
  });
}

/** Whether nobody but one node reads a value, under any of its names. @param {import("../graph.js").Graph} graph @param {string} name @param {Node} reader @returns {boolean} */
function isOwn(graph, name, reader) {
  if (graph.soleConsumer(name) !== reader) return false;
  const node = graph.producer(name);
  return !node || !ALIASES.includes(node.opType) || isOwn(graph, node.inputs[0], node);
}

/** @param {import("../graph.js").Graph} graph @param {string} name @returns {boolean} */
function isLength(graph, name) {
  if (name === "attention_mask") return true;
  const node = graph.producer(name);
  return Boolean(node && LENGTH_OPERATORS.includes(node.opType) && isLength(graph, node.inputs[0]));
}

/** Tables [positions, half of the rotated elements]; fewer than half a head leave the rest as it is. @param {LoweringContext} context @param {Node} node @param {number} headDim */
function rotaryTables(context, node, headDim) {
  let half = 0;
  const [cosine, sine] = node.inputs.slice(7, 9).map((name) => {
    const { weight, dims } = context.positionTable(node, name);
    half ||= dims[1];
    if (dims[1] !== half || !(half > 0) || 2 * half > headDim) {
      throw cannotLower(node, `its rotary table [${dims}] does not fit heads of ${headDim}`);
    }
    return { weight };
  });
  if (!sine) throw cannotLower(node, "it has no rotary tables");
  return { cosine, sine, rotaryDim: 2 * half };
}
