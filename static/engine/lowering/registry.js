/** Owns the table of operators that the engine can lower: a new one is one file and one row. */

import { lowerGatedSilu, lowerGelu, lowerRelu } from "./activation.js";
import { lowerAdd } from "./add.js";
import { lowerAlias, lowerReshape } from "./alias.js";
import { lowerEmbedding } from "./embedding.js";
import { lowerFirstToken } from "./first_token.js";
import { lowerGroupQueryAttention } from "./group_query_attention.js";
import { lowerKeepLast } from "./keep_last.js";
import { lowerLinear } from "./linear.js";
import { lowerMultiHeadAttention } from "./multi_head_attention.js";
import { lowerLayerNorm, lowerRmsNorm, lowerSkipLayerNorm, lowerSkipRmsNorm } from "./normalization.js";

/** @type {Readonly<Record<string, import("./context.js").Lowering>>} */
export const LOWERINGS = {
  Add: lowerAdd,
  Cast: lowerAlias,
  Embedding: lowerEmbedding,
  GatedSilu: lowerGatedSilu,
  Gather: lowerFirstToken,
  Gelu: lowerGelu,
  GroupQueryAttention: lowerGroupQueryAttention,
  Identity: lowerAlias,
  LayerNormalization: lowerLayerNorm,
  Linear: lowerLinear,
  MultiHeadAttention: lowerMultiHeadAttention,
  Relu: lowerRelu,
  Reshape: lowerReshape,
  SimplifiedLayerNormalization: lowerRmsNorm,
  SkipLayerNormalization: lowerSkipLayerNorm,
  SkipSimplifiedLayerNormalization: lowerSkipRmsNorm,
  Slice: lowerKeepLast,
  Squeeze: lowerAlias,
};
