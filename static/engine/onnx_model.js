/** Owns the reading of `.onnx` files: the fields of onnx.proto3 that the engine uses, as plain objects. */

import { FeatherweightError } from "../errors.js";
import { MessageReader } from "./protobuf.js";

export const FLOAT = 1;
export const UINT8 = 2;
export const INT32 = 6;
export const INT64 = 7;
export const FLOAT16 = 10;

/** Bytes of one element. @type {Readonly<Record<number, number>>} */
export const ITEM_BYTES = { [FLOAT]: 4, [UINT8]: 1, [INT32]: 4, [INT64]: 8, [FLOAT16]: 2 };

/**
 * @typedef {object} Initializer
 * @property {string} name
 * @property {number[]} dims
 * @property {number} dataType
 * @property {number} byteLength what dims and dataType ask for
 * @property {Uint8Array | null} raw the bytes, null when they are external
 * @property {{location: string, offset: number} | null} external
 */

/** @typedef {number | string | readonly number[]} Attribute */

/**
 * @typedef {object} OnnxNode
 * @property {string} name
 * @property {string} opType
 * @property {string} domain "" or "com.microsoft"
 * @property {string[]} inputs "" where an optional input is absent
 * @property {string[]} outputs
 * @property {Record<string, Attribute>} attributes
 */

/**
 * @typedef {object} OnnxModel
 * @property {OnnxNode[]} nodes in topological order
 * @property {Map<string, Initializer>} initializers
 * @property {string[]} inputs
 * @property {string[]} outputs
 */

/** @param {Uint8Array} bytes @returns {OnnxModel} */
export function parseModel(bytes) {
  const reader = new MessageReader(bytes);
  while (reader.next()) {
    if (reader.field === 7) return parseGraph(reader.message());
    reader.skip();
  }
  throw new FeatherweightError("unsupported", "The model file holds no graph. Convert the model again.");
}

/** The nodes alone, whatever tensors stand beside them. @param {Uint8Array} bytes @returns {OnnxNode[]} */
export function parseNodes(bytes) {
  const nodes = [];
  const reader = new MessageReader(bytes);
  while (reader.next()) {
    if (reader.field !== 7) {
      reader.skip();
      continue;
    }
    const graph = reader.message();
    while (graph.next()) {
      if (graph.field === 1) nodes.push(parseNode(graph.message()));
      else graph.skip();
    }
  }
  return nodes;
}

/** @param {MessageReader} reader @returns {OnnxModel} */
function parseGraph(reader) {
  /** @type {OnnxModel} */
  const model = { nodes: [], initializers: new Map(), inputs: [], outputs: [] };
  while (reader.next()) {
    if (reader.field === 1) model.nodes.push(parseNode(reader.message()));
    else if (reader.field === 5) {
      const tensor = parseTensor(reader.message());
      model.initializers.set(tensor.name, tensor);
    } else if (reader.field === 11) model.inputs.push(valueName(reader.message()));
    else if (reader.field === 12) model.outputs.push(valueName(reader.message()));
    else reader.skip();
  }
  return model;
}

/** @param {MessageReader} reader */
function valueName(reader) {
  let name = "";
  while (reader.next()) {
    if (reader.field === 1) name = reader.string();
    else reader.skip();
  }
  return name;
}

/** @param {MessageReader} reader @returns {OnnxNode} */
function parseNode(reader) {
  /** @type {OnnxNode} */
  const node = { name: "", opType: "", domain: "", inputs: [], outputs: [], attributes: {} };
  while (reader.next()) {
    if (reader.field === 1) node.inputs.push(reader.string());
    else if (reader.field === 2) node.outputs.push(reader.string());
    else if (reader.field === 3) node.name = reader.string();
    else if (reader.field === 4) node.opType = reader.string();
    else if (reader.field === 5) parseAttribute(reader.message(), node.attributes);
    else if (reader.field === 7) node.domain = reader.string();
    else reader.skip();
  }
  return node;
}

/** @param {MessageReader} reader @param {Record<string, Attribute>} attributes */
function parseAttribute(reader, attributes) {
  let name = "";
  /** @type {Attribute | null} */
  let value = null;
  /** @type {number[]} */
  const integers = [];
  while (reader.next()) {
    if (reader.field === 1) name = reader.string();
    else if (reader.field === 2) value = reader.float();
    else if (reader.field === 3) value = reader.integer();
    else if (reader.field === 4) value = reader.string();
    else if (reader.field === 8) integers.push(...reader.integers());
    else reader.skip();
  }
  attributes[name] = value ?? integers;
}

/** @param {MessageReader} reader @returns {Initializer} */
function parseTensor(reader) {
  let name = "";
  let dataType = 0;
  /** @type {number[]} */
  const dims = [];
  /** @type {Uint8Array | null} */
  let raw = null;
  /** @type {Record<string, string>} */
  const location = {};
  while (reader.next()) {
    if (reader.field === 1) dims.push(...reader.integers());
    else if (reader.field === 2) dataType = reader.integer();
    else if (reader.field === 8) name = reader.string();
    else if (reader.field === 9) raw = reader.bytesValue();
    else if (reader.field === 13) parseEntry(reader.message(), location);
    else reader.skip();
  }
  return checkTensor(name, dims, dataType, raw, location);
}

/** @param {MessageReader} reader @param {Record<string, string>} entries */
function parseEntry(reader, entries) {
  let key = "";
  let value = "";
  while (reader.next()) {
    if (reader.field === 1) key = reader.string();
    else if (reader.field === 2) value = reader.string();
    else reader.skip();
  }
  entries[key] = value;
}

/**
 * Hold a tensor to its own declaration, so that everything after this may trust dims and lengths.
 * @param {string} name
 * @param {number[]} dims
 * @param {number} dataType
 * @param {Uint8Array | null} raw
 * @param {Record<string, string>} location
 * @returns {Initializer}
 */
function checkTensor(name, dims, dataType, raw, location) {
  const byteLength = dims.reduce((product, size) => product * size, ITEM_BYTES[dataType] ?? NaN);
  const external = location.location === undefined ? null : { location: location.location, offset: Number(location.offset ?? 0) };
  const found = external ? Number(location.length ?? byteLength) : (raw?.length ?? 0);
  const sound =
    dims.every((size) => Number.isSafeInteger(size) && size >= 0) &&
    found === byteLength &&
    (external === null || (Number.isSafeInteger(external.offset) && external.offset >= 0));
  if (!sound) {
    throw new FeatherweightError(
      "unsupported",
      `The tensor ${name} of type ${dataType} and shape [${dims}] does not fit its ${found} bytes. Convert the model again.`,
      { tensor: name },
    );
  }
  return { name, dims, dataType, byteLength, raw: external ? null : raw, external };
}
