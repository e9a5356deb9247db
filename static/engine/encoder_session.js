/** Owns encoding on the engine: sequences are packed into runs without their padding, which is never computed. */

import { FeatherweightError } from "../errors.js";
import { alignedSlots } from "./plan.js";
import { ROWS } from "./plan_format.js";

/**
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {import("./plan.js").Segment} Segment
 * @typedef {import("../backends/backend.js").Batch} Batch
 * @typedef {import("../backends/backend.js").Output} Output
 * @typedef {import("../backends/backend.js").EncoderSession} EncoderSession
 */

/** @implements {EncoderSession} */
export class EngineEncoderSession {
  /** @type {"encoder"} */
  kind = "encoder";
  backend = "wasm";

  /** @param {Engine} engine */
  constructor(engine) {
    this.engine = engine;
  }

  /** As many as are in use now. */
  get threads() {
    return this.engine.choice.count;
  }

  /**
   * Rows of padding are 0; a sequence of padding alone gives zeros.
   * @param {Batch} batch
   * @returns {Promise<Record<string, Output>>}
   */
  async encode({ inputIds, attentionMask }) {
    this.#check(inputIds, attentionMask);
    const { plan } = this.engine;
    const { width, rowsKind } = plan.model.output;
    const tokens = inputIds[0].length;
    const perToken = rowsKind === ROWS.ALL;
    const data = new Float32Array(inputIds.length * width * (perToken ? tokens : 1));
    for (const run of packRuns(inputIds, attentionMask, plan.maxRows)) {
      const output = plan.run(run.map(({ segment }) => segment), false);
      let row = 0;
      for (const { sequence, segment } of run) {
        const targets = perToken ? segment.positions.map((position) => sequence * tokens + position) : [sequence];
        for (const target of targets) {
          data.set(output.subarray(row * width, (row + 1) * width), target * width);
          row++;
        }
      }
    }
    return { [plan.model.outputName]: { data, dims: perToken ? [inputIds.length, tokens, width] : [inputIds.length, width] } };
  }

  memoryBytes() {
    return this.engine.plan.kernels.memory.memory.buffer.byteLength;
  }

  async dispose() {
    this.engine.pool.stop();
  }

  /** @param {Batch["inputIds"]} inputIds @param {Batch["attentionMask"]} attentionMask */
  #check(inputIds, attentionMask) {
    const { plan, contextLength } = this.engine;
    const tokens = inputIds[0]?.length ?? 0;
    if (inputIds.length === 0 || tokens === 0) throw new RangeError("encode needs at least one token");
    const { vocabulary } = plan.model;
    if (!inputIds.every((row) => row.length === tokens && row.every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary))) {
      throw new RangeError(`rows have one length and hold integers from 0 to ${vocabulary - 1}`);
    }
    if (attentionMask.length !== inputIds.length || !attentionMask.every((row) => row.length === tokens)) {
      throw new RangeError("the attention mask has another shape than the ids");
    }
    if (tokens > contextLength) {
      throw new FeatherweightError("unsupported", `${tokens} tokens are more than the model's ${contextLength}. Cut the text.`, { tokens, contextLength });
    }
  }
}

/**
 * Fill runs of at most maxRows tokens with whole sequences.
 * @param {Batch["inputIds"]} inputIds
 * @param {Batch["attentionMask"]} attentionMask
 * @param {number} maxRows
 * @returns {{sequence: number, segment: Segment}[][]}
 */
function packRuns(inputIds, attentionMask, maxRows) {
  /** @type {{sequence: number, segment: Segment}[][]} */
  const runs = [];
  let rows = Infinity;
  let slot = 0;
  for (const [sequence, mask] of attentionMask.entries()) {
    const positions = [...mask.keys()].filter((position) => mask[position]);
    if (positions.length === 0) continue;
    if (rows + positions.length > maxRows) {
      runs.push([]);
      rows = 0;
      slot = 0;
    }
    const ids = positions.map((position) => inputIds[sequence][position]);
    runs[runs.length - 1].push({ sequence, segment: { ids, positions, slot, past: 0 } });
    rows += positions.length;
    slot += alignedSlots(positions.length);
  }
  return runs;
}
