/** Owns the lowering of GroupQueryAttention: causal, rotary, over a KV cache in float16. */

import { cannotLower } from "../graph.js";
import { emitAttention } from "./attention.js";

/**
 * @typedef {import("./context.js").LoweringContext} LoweringContext
 * @typedef {import("../graph.js").Node} Node
 */

/** Lengths come from the engine itself, which has one sequence without padding. */
const LENGTH_OPERATORS = ["ReduceSum", "Sub", "Cast", "Shape", "Gather"];

/** @param {LoweringContext} context @param {Node} node */
export function lowerGroupQueryAttention(context, node) {
  const { num_heads: heads, kv_num_heads: kvHeads, do_rotary: rotates = 0, ...rest } = /** @type {Record<string, number>} */ (node.attributes);
  const { rotary_interleaved: interleaved = 0, local_window_size: window = -1, softcap = 0, smooth_softmax: smooth = 0 } = rest;
  if (interleaved || window > 0 || softcap || smooth || node.inputs.slice(9).some(Boolean)) {
    throw cannotLower(node, "windows, soft caps, interleaved rotation and further inputs have no kernel");
  }
  for (const input of node.inputs.slice(5, 7)) {
    if (!isLength(context.graph, input)) throw cannotLower(node, `"${input}" is no length of the attention mask`);
  }
  const layer = context.cache?.layers ?? 0;
  const rotary = rotates ? rotaryTables(context, node) : null;
  const { headDim } = emitAttention(context, node, { heads, kvHeads, half: true, causal: true, layer, rotary });
  const shape = { kvHeads, headDim, half: true };
  if (context.cache && (context.cache.kvHeads !== kvHeads || context.cache.headDim !== headDim || !context.cache.half)) {
    throw cannotLower(node, "its cache differs from that of the layers before");
  }
  context.cache = { layers: layer + 1, ...shape };
}

/** @param {import("../graph.js").Graph} graph @param {string} name @returns {boolean} */
function isLength(graph, name) {
  if (name === "attention_mask") return true;
  const node = graph.producer(name);
  return Boolean(node && LENGTH_OPERATORS.includes(node.opType) && isLength(graph, node.inputs[0]));
}

/** @param {LoweringContext} context @param {Node} node */
function rotaryTables(context, node) {
  const width = context.value(node.inputs[0]).width / Number(node.attributes.num_heads) / 2;
  const [cosine, sine] = node.inputs.slice(7, 9).map((name) => {
    const offset = context.weights.literal(`${name} x ${width}`, () => {
      const { dims, data } = context.constant(node, name);
      if (dims.length !== 2 || dims[1] !== width) throw cannotLower(node, `its rotary table is no [positions, ${width}]`);
      context.positions = Math.min(context.positions, dims[0]);
      return Float32Array.from(data);
    });
    return { weight: offset };
  });
  return { cosine, sine };
}
