/** Owns the fusion of soft caps, `Mul(Tanh(Div(x, limit)), limit)`, into one step. */

import { scalarOf } from "../constants.js";
import { madeNode } from "../graph.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** @param {Graph} graph */
export function fuseSoftCap(graph) {
  for (const mul of graph.all("Mul")) {
    const tanh = graph.made(mul.inputs[0], "Tanh");
    const div = graph.made(tanh?.inputs[0], "Div");
    if (!tanh || !div || graph.soleConsumer(tanh.outputs[0]) !== mul || graph.soleConsumer(div.outputs[0]) !== tanh) continue;
    const limit = scalarOf(graph, div.inputs[1]);
    if (limit === null || !(limit > 0) || scalarOf(graph, mul.inputs[1]) !== limit) continue;
    graph.replace([div, tanh, mul], madeNode("SoftCap", mul.name, [div.inputs[0]], mul.outputs, { limit }));
  }
}
