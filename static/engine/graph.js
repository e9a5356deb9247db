/** Owns the graph while passes rewrite it: who makes a value, who reads it, and the replacing of nodes. */

import { FeatherweightError } from "../errors.js";

/**
 * A node of the file or, with domain "featherweight", one that a pass made; `detail` is what that pass found out.
 * @typedef {import("./onnx_model.js").OnnxNode & {detail?: any}} Node
 * @typedef {import("./onnx_model.js").OnnxModel} OnnxModel
 */

export class Graph {
  /** @param {OnnxModel} model */
  constructor(model) {
    /** @type {Set<Node>} */
    this.nodes = new Set();
    this.initializers = model.initializers;
    this.inputs = new Set(model.inputs);
    this.outputs = [...model.outputs];
    /** @type {Map<string, Node>} */
    this.producers = new Map();
    /** @type {Map<string, Set<Node>>} */
    this.readers = new Map();
    for (const node of model.nodes) {
      // A node may read only what stands before it: so nothing that follows edges can run in circles.
      const unknown = node.inputs.find((input) => input && !this.inputs.has(input) && !this.initializers.has(input) && !this.producers.has(input));
      if (unknown !== undefined) throw cannotLower(node, `its input "${unknown}" does not exist before it`);
      this.#add(node);
    }
  }

  /** @param {string} value @returns {Node | undefined} */
  producer(value) {
    return this.producers.get(value);
  }

  /**
   * The node that makes a value, if it is of that type.
   * @param {string | undefined} value
   * @param {string} opType
   * @returns {Node | undefined}
   */
  made(value, opType) {
    const node = value ? this.producers.get(value) : undefined;
    return node?.opType === opType ? node : undefined;
  }

  /** The nodes of some types, as they are now. @param {string[]} opTypes @returns {Node[]} */
  all(...opTypes) {
    return [...this.nodes].filter(({ opType }) => opTypes.includes(opType));
  }

  /** The only reader of a value that is no output of the graph. @param {string} value @returns {Node | undefined} */
  soleConsumer(value) {
    const [first, second] = this.readers.get(value) ?? [];
    return second || this.outputs.includes(value) ? undefined : first;
  }

  /** Drop the nodes `old` and add `node`, which makes what of their outputs is still read. @param {readonly Node[]} old @param {Node} node */
  replace(old, node) {
    for (const item of old) this.#remove(item);
    this.#add(node);
  }

  /** @param {Node} node */
  #add(node) {
    this.nodes.add(node);
    for (const output of node.outputs) if (output) this.producers.set(output, node);
    for (const input of node.inputs) {
      const readers = this.readers.get(input);
      if (readers) readers.add(node);
      else this.readers.set(input, new Set([node]));
    }
  }

  /** @param {Node} node */
  #remove(node) {
    this.nodes.delete(node);
    for (const output of node.outputs) if (this.producers.get(output) === node) this.producers.delete(output);
    for (const input of node.inputs) this.readers.get(input)?.delete(node);
  }
}

/**
 * @param {string} opType
 * @param {string} name
 * @param {string[]} inputs
 * @param {string[]} outputs
 * @param {any} detail
 * @returns {Node}
 */
export function madeNode(opType, name, inputs, outputs, detail) {
  return { opType, name, domain: "featherweight", inputs, outputs, attributes: {}, detail };
}

/**
 * The error that makes a model fall back to onnxruntime-web.
 * @param {{name: string, opType: string}} node
 * @param {string} why
 */
export function cannotLower(node, why) {
  return new FeatherweightError("unsupported", `The engine cannot run ${node.opType} "${node.name}": ${why}.`, {
    operator: node.opType,
    node: node.name,
  });
}
