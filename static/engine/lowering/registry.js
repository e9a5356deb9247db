/** Owns the table of operators that the engine can lower: a new one is one file and one row. */

import { lowerActivation, lowerClip, lowerGated, lowerSoftCap } from "./activation.js";
import { lowerAlias, lowerReshape } from "./alias.js";
import { lowerArithmetic } from "./arithmetic.js";
import { lowerEmbedding } from "./embedding.js";
import { lowerGroupQueryAttention } from "./group_query_attention.js";
import { lowerKeepLast } from "./keep_last.js";
import { lowerLinear } from "./linear.js";
import { lowerCrossAttention, lowerMultiHeadAttention } from "./multi_head_attention.js";
import { lowerLayerNorm, lowerRmsNorm, lowerSkipLayerNorm, lowerSkipRmsNorm } from "./normalization.js";
import { lowerPick } from "./pick.js";
import { lowerSplit } from "./split.js";

/** @type {Readonly<Record<string, import("./context.js").Lowering>>} */
export const LOWERINGS = {
  Add: lowerArithmetic,
  Cast: lowerAlias,
  Clip: lowerClip,
  CrossAttention: lowerCrossAttention,
  Div: lowerArithmetic,
  Embedding: lowerEmbedding,
  FastGelu: lowerActivation,
  Gated: lowerGated,
  Gather: lowerPick,
  Gelu: lowerActivation,
  GroupQueryAttention: lowerGroupQueryAttention,
  Identity: lowerAlias,
  LayerNormalization: lowerLayerNorm,
  Linear: lowerLinear,
  Mul: lowerArithmetic,
  MultiHeadAttention: lowerMultiHeadAttention,
  QuickGelu: lowerActivation,
  Relu: lowerActivation,
  Reshape: lowerReshape,
  SimplifiedLayerNormalization: lowerRmsNorm,
  SkipLayerNormalization: lowerSkipLayerNorm,
  SkipSimplifiedLayerNormalization: lowerSkipRmsNorm,
  Slice: lowerKeepLast,
  SoftCap: lowerSoftCap,
  Split: lowerSplit,
  Squeeze: lowerAlias,
  Sub: lowerArithmetic,
  Tanh: lowerActivation,
};
