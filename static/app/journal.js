/**
 * Owns the journal: what the page was about to do when its tab died. An intent is written before each risky step and
 * taken back when it is over; one that the next visit finds says at which step the tab died, and the next try is smaller.
 */
import { recall, remember } from "../local_storage.js";

/** @typedef {"allocating and downloading" | "compiling" | "first run"} Step */
/** @typedef {{id: string, dtype: string, step: Step, contextLength: number}} Intent */
/** @typedef {Intent & {tab: string}} Entry */
/** What a model is opened with after its tab died. @typedef {{contextLength?: number, dtype?: string}} Plan */

const INTENT = "journal.intent";
const LEAST_CONTEXT = 512;

/** The steps of a load, by the phases that its progress names. */
export const LOADING_STEPS = Object.freeze(
  /** @type {const} */ ({ download: "allocating and downloading", compile: "compiling", ready: null }),
);

/** This tab holds a lock of this name for as long as it lives: what a tab that lives has begun is no death. */
const TAB = `featherweight.tab.${Math.random().toString(36).slice(2)}`;
navigator.locks?.request(TAB, () => new Promise(() => {}));

/** @param {string} id */
const planKey = (id) => `journal.plan.${id}`;

/** @param {Intent} intent what is about to happen */
export function intend(intent) {
  remember(INTENT, { ...intent, tab: TAB });
}

/** The step is over, however it ended. */
export function done() {
  if (/** @type {Entry | undefined} */ (recall(INTENT))?.tab === TAB) remember(INTENT, undefined);
}

/**
 * What an earlier visit died of, once: it is taken from the journal.
 * @returns {Promise<Entry | null>}
 */
export async function takeUnfinished() {
  const entry = /** @type {Entry | undefined} */ (recall(INTENT));
  if (typeof entry?.id !== "string" || typeof entry.contextLength !== "number") return null;
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  if (held.some(({ name }) => name === entry.tab)) return null;
  remember(INTENT, undefined);
  return entry;
}

/**
 * Plans the next try of what died: with half the context, and where that is at its least or there is none, with the next
 * smaller variant.
 * @param {Entry} entry
 * @param {{task: string, variants: readonly {dtype: string, download_bytes: number}[]}} model
 * @returns {Plan} empty where nothing smaller is left
 */
export function planSmaller({ id, dtype, contextLength }, { task, variants }) {
  const own = variants.find((variant) => variant.dtype === dtype)?.download_bytes ?? Infinity;
  const smaller = variants.filter(({ download_bytes: bytes }) => bytes < own).sort((a, b) => b.download_bytes - a.download_bytes)[0];
  /** @type {Plan} */
  const plan = {};
  if (task === "text-generation" && contextLength > LEAST_CONTEXT) plan.contextLength = Math.max(LEAST_CONTEXT, contextLength >> 1);
  else if (smaller) plan.dtype = smaller.dtype;
  remember(planKey(id), { ...plannedFor(id), ...plan });
  return plan;
}

/** @param {string} id @returns {Plan} empty where nothing died */
export function plannedFor(id) {
  const plan = recall(planKey(id));
  return typeof plan === "object" && plan !== null ? plan : {};
}

/** The next try is as large as the first again. @param {string} id */
export function forgetPlan(id) {
  remember(planKey(id), undefined);
}

/**
 * The context that a model is opened with: its own, or less after its tab died.
 * @param {string} id
 * @param {number} contextLength the model's
 */
export function plannedContext(id, contextLength) {
  const { contextLength: limit } = plannedFor(id);
  return typeof limit === "number" ? Math.min(limit, contextLength) : contextLength;
}
