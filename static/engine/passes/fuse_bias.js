/** Owns the fusion of bias vectors into the product before them; a BiasGelu gives its bias up and stays as Gelu. */

import { madeNode } from "../graph.js";
import { FLOAT, FLOAT16 } from "../onnx_model.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** @param {Graph} graph */
export function fuseBias(graph) {
  for (const node of graph.all("Add", "BiasGelu")) {
    const linear = graph.made(node.inputs[0], "Linear");
    const bias = graph.initializers.get(node.inputs[1]);
    if (!linear || !bias || graph.soleConsumer(linear.outputs[0]) !== node) continue;
    const [{ weight, bias: earlier }] = linear.detail.parts;
    if (earlier || bias.dims.length !== 1 || bias.dims[0] !== weight.columns) continue;
    if (bias.dataType !== FLOAT && bias.dataType !== FLOAT16) continue;
    const output = node.opType === "Add" ? node.outputs[0] : linear.outputs[0];
    graph.replace(
      node.opType === "Add" ? [linear, node] : [linear],
      madeNode("Linear", linear.name, linear.inputs, [output], { parts: [{ weight, bias }] }),
    );
    if (node.opType === "BiasGelu") graph.replace([node], madeNode("Gelu", node.name, [output], node.outputs, null));
  }
}
