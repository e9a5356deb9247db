/** Owns the fusion of bias vectors into the product before them; activations give theirs up and stay without. */

import { madeNode } from "../graph.js";
import { isVector } from "../lowering/context.js";
import { FLOAT, FLOAT16 } from "../onnx_model.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** What stays of an activation that adds a bias first. @type {Readonly<Record<string, string>>} */
const BIASED = { BiasGelu: "Gelu", FastGelu: "FastGelu" };

/** @param {Graph} graph */
export function fuseBias(graph) {
  for (const node of graph.all("Add", ...Object.keys(BIASED))) {
    const linear = graph.made(node.inputs[0], "Linear");
    const bias = graph.initializers.get(node.inputs[1]);
    if (!linear || !bias || graph.soleConsumer(linear.outputs[0]) !== node) continue;
    const [{ weight, bias: earlier }] = linear.detail.parts;
    if (earlier || !isVector(bias.dims, weight.columns)) continue;
    if (bias.dataType !== FLOAT && bias.dataType !== FLOAT16) continue;
    const output = node.opType === "Add" ? node.outputs[0] : linear.outputs[0];
    graph.replace(
      node.opType === "Add" ? [linear, node] : [linear],
      madeNode("Linear", linear.name, linear.inputs, [output], { parts: [{ weight, bias }] }),
    );
    if (node.opType !== "Add") graph.replace([node], madeNode(BIASED[node.opType], node.name, [output], node.outputs, null));
  }
}
