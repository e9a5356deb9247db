/** Owns the order of the graph passes. */

import { formCrossAttention } from "./form_cross_attention.js";
import { formEmbedding } from "./form_embedding.js";
import { formLinear } from "./form_linear.js";
import { fuseAffineBlocks } from "./fuse_affine_blocks.js";
import { fuseBias } from "./fuse_bias.js";
import { fuseGated } from "./fuse_gated.js";
import { fuseSoftCap } from "./fuse_soft_cap.js";
import { mergeProjections } from "./merge_projections.js";
import { widenVectors } from "./widen_vectors.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** @type {readonly ((graph: Graph) => void)[]} */
const PASSES = [widenVectors, fuseAffineBlocks, formLinear, formEmbedding, fuseBias, formCrossAttention, fuseGated, fuseSoftCap, mergeProjections];

/** @param {Graph} graph */
export function runPasses(graph) {
  for (const pass of PASSES) pass(graph);
}
