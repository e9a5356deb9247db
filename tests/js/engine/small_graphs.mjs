/** Makes graphs of a few nodes, without a file. */
import { Graph } from "../../../static/engine/graph.js";
import { FLOAT, INT64, ITEM_BYTES, UINT8 } from "../../../static/engine/onnx_model.js";

/** @param {string} opType @param {string[]} inputs @param {string[]} outputs @param {Record<string, any>} [attributes] */
export function node(opType, inputs, outputs, attributes = {}) {
  return { name: `/${opType}/${outputs[0]}`, opType, domain: "", inputs, outputs, attributes };
}

function tensor(name, dims, dataType, raw, location = null) {
  const byteLength = dims.reduce((product, size) => product * size, ITEM_BYTES[dataType]);
  return { name, dims, dataType, byteLength, raw, external: location && { location, offset: 0 } };
}

/** A float tensor whose values lie in a shard. */
export const external = (name, dims, dataType = FLOAT) => tensor(name, dims, dataType, null, "shard");
/** Bytes that lie in a shard. */
export const bytes = (name, dims) => tensor(name, dims, UINT8, null, "shard");
/** One float32, or a tensor of them. */
export const number = (name, value, dims = []) => tensor(name, dims, FLOAT, new Uint8Array(Float32Array.from([value].flat()).buffer));
/** A vector of int64, or a number where dims are []. */
export const integers = (name, values, dims = [values.length]) => tensor(name, dims, INT64, new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));

/**
 * @param {ReturnType<typeof node>[]} nodes
 * @param {{inputs?: string[], outputs?: string[], initializers?: any[]}} [rest] "x" and "y" where they are not given
 */
export function graphOf(nodes, { inputs = ["x"], outputs = ["y"], initializers = [] } = {}) {
  return new Graph({ nodes: nodes.map((item) => ({ ...item })), inputs, outputs, initializers: new Map(initializers.map((item) => [item.name, item])) });
}
