/** Owns one form for vectors: those that are stored as halves and cast are read where they are stored. */

import { FLOAT, FLOAT16 } from "../onnx_model.js";

/** @typedef {import("../graph.js").Graph} Graph */

/** Copying a vector widens it anyway. @param {Graph} graph */
export function widenVectors(graph) {
  for (const cast of graph.all("Cast")) {
    const stored = graph.initializers.get(cast.inputs[0]);
    if (cast.attributes.to !== FLOAT || stored?.dataType !== FLOAT16 || stored.dims.length !== 1) continue;
    for (const reader of [...(graph.readers.get(cast.outputs[0]) ?? [])]) {
      const inputs = reader.inputs.map((input) => (input === cast.outputs[0] ? cast.inputs[0] : input));
      graph.replace([reader], { ...reader, inputs });
    }
  }
}
