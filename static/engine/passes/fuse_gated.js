/** Owns the fusion of `activation(gate) * up`, the middle of gated feed-forward layers (Shazeer 2020). */

import { madeNode } from "../graph.js";
import { activationOf } from "../lowering/activation.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** @param {Graph} graph */
export function fuseGated(graph) {
  for (const mul of graph.all("Mul")) {
    for (const [at, input] of mul.inputs.entries()) {
      const active = graph.producer(input);
      const detail = active && activationOf(active);
      // Tanh has no gated kernel.
      if (!detail || active.opType === "Tanh" || graph.soleConsumer(input) !== mul || mul.inputs[1 - at] === input) continue;
      if (!graph.producer(mul.inputs[1 - at])) continue;
      graph.replace([active, mul], madeNode("Gated", mul.name, [active.inputs[0], mul.inputs[1 - at]], mul.outputs, detail));
      break;
    }
  }
}
