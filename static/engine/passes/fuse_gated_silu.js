/** Owns the fusion of `silu(gate) * up`, which graphs spell as QuickGelu with alpha 1 and a Mul. */

import { madeNode } from "../graph.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** @param {Graph} graph */
export function fuseGatedSilu(graph) {
  for (const mul of graph.all("Mul")) {
    const at = mul.inputs.findIndex((input) => graph.made(input, "QuickGelu")?.attributes.alpha === 1);
    const active = graph.producer(mul.inputs[at] ?? "");
    if (!active || graph.soleConsumer(active.outputs[0]) !== mul) continue;
    graph.replace([active, mul], madeNode("GatedSilu", mul.name, [active.inputs[0], mul.inputs[1 - at]], mul.outputs, null));
  }
}
