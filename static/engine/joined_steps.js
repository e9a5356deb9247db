/**
 * Owns which steps run together: those that work on each row alone do so one after the other on a few rows, which stay in
 * the nearest cache, and no thread waits for another between them.
 */

import { OP } from "./plan_format.js";

/** @typedef {import("./lowering/context.js").Step} Step */

/** Steps whose chunks are not rows. @type {readonly number[]} */
const NOT_BY_ROWS = Object.freeze([OP.MATMUL_Q4, OP.MATMUL_Q8, OP.MATMUL_Q16, OP.ATTEND]);

/**
 * Mark the steps that join the one before them.
 * @param {readonly Step[]} steps
 * @returns {Step[]}
 */
export function joinSteps(steps) {
  return steps.map((step, at) => (at > 0 && joins(step, steps[at - 1]) ? { ...step, joined: 1 } : step));
}

/** @param {Step} step @param {Step} before */
function joins(step, before) {
  // A lookup among rows of activations needs all of them.
  const picks = typeof step.weight === "object" && "buffer" in step.weight;
  return byRows(step) && byRows(before) && step.rowsKind === before.rowsKind && !picks;
}

/** @param {Step} step */
function byRows({ op }) {
  return !NOT_BY_ROWS.includes(Number(op));
}
