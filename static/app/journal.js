/**
 * Owns the journal: what the page was about to do when its tab died. An intent is written before each risky step and
 * taken back when it is over; one that the next visit finds says at which step the tab died, and the next try is smaller.
 */
import { recall, remember } from "../local_storage.js";

/** @typedef {"loading" | "first answer"} Step */
/** @typedef {{id: string, dtype: string, step: Step, contextLength: number}} Entry */

const INTENT = "journal.intent";
const LEAST_CONTEXT = 512;

/** @param {string} id */
const limitKey = (id) => `journal.context.${id}`;

/** @param {Entry} entry what is about to happen */
export function intend(entry) {
  remember(INTENT, entry);
}

/** The step is over, however it ended. */
export function done() {
  remember(INTENT, undefined);
}

/**
 * What the last visit died of, once: it is taken from the journal, and the model's next context is half as long.
 * @returns {Entry | null}
 */
export function takeUnfinished() {
  const entry = /** @type {Entry | undefined} */ (recall(INTENT));
  if (typeof entry?.id !== "string" || typeof entry.contextLength !== "number") return null;
  done();
  remember(limitKey(entry.id), Math.max(LEAST_CONTEXT, entry.contextLength >> 1));
  return entry;
}

/**
 * The context that a model is opened with: its own, or less after its tab died.
 * @param {string} id
 * @param {number} contextLength the model's
 */
export function plannedContext(id, contextLength) {
  const limit = recall(limitKey(id));
  return typeof limit === "number" ? Math.min(limit, contextLength) : contextLength;
}
