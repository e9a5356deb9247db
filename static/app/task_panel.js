/** Owns what both encoder tasks share: one run at a time with its button, its state line, its problem and its statistics. */
import { announce } from "./announcer.js";
import { byId } from "./dom.js";
import { done, intend } from "./journal.js";
import { clearProblem, isAbort, showProblem } from "./problem.js";
import { showEncoderRun, showStatistics } from "./statistics.js";

/** @typedef {Awaited<ReturnType<typeof import("../featherweight.js").loadModel>>} Model */

/** Texts that go to the worker in one call: few enough that the state line moves and a stop is quick. */
const BATCH = 8;

export class TaskPanel {
  /** @type {Model | null} */
  model = null;
  /** @type {AbortController | null} */
  #running = null;

  /**
   * @param {"search" | "classify"} name of the elements in index.html
   * @param {(panel: TaskPanel, signal: AbortSignal) => Promise<{texts: number, summary: string}>} run
   */
  constructor(name, run) {
    this.run = run;
    this.results = byId(`${name}-results`, HTMLOListElement);
    this.stateLine = byId(`${name}-state`, HTMLElement);
    this.problemSlot = byId(`${name}-problem`, HTMLElement);
    this.button = byId(`${name}-button`, HTMLButtonElement);
    byId(`${name}-form`, HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
  }

  /** @param {Model} model */
  open(model) {
    this.stop();
    this.model = model;
    this.results.replaceChildren();
    this.stateLine.textContent = "";
    clearProblem(this.problemSlot);
  }

  stop() {
    this.#running?.abort();
    this.#running = null;
    this.button.disabled = false;
  }

  async #start() {
    if (!this.model || this.#running) return;
    const { model } = this;
    const controller = new AbortController();
    this.#running = controller;
    this.button.disabled = true;
    clearProblem(this.problemSlot);
    const started = performance.now();
    intend({ id: model.id, dtype: model.dtype, step: "first run", contextLength: model.contextLength });
    try {
      const { texts, summary } = await this.run(this, controller.signal);
      if (this.#running !== controller) return;
      this.stateLine.textContent = summary;
      announce(summary);
      showStatistics(model.stats);
      if (texts > 0) showEncoderRun(texts, (performance.now() - started) / 1000);
    } catch (error) {
      if (this.#running !== controller || isAbort(error)) return;
      this.stateLine.textContent = "";
      showProblem(this.problemSlot, error, () => this.#start());
    } finally {
      done();
      if (this.#running === controller) this.stop();
    }
  }

  /**
   * Runs `call` over the texts, some at a time, and says how far it is.
   * @template Result
   * @param {string[]} texts
   * @param {(batch: string[]) => Promise<Result[]>} call
   * @returns {Promise<Result[]>}
   */
  async inBatches(texts, call) {
    /** @type {Result[]} */
    const results = [];
    for (let start = 0; start < texts.length; start += BATCH) {
      this.stateLine.textContent = `Reading ${start + 1} of ${texts.length}…`;
      results.push(...(await call(texts.slice(start, start + BATCH))));
    }
    return results;
  }
}
