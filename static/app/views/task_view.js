/**
 * Owns what the views of tasks share: a form, one run at a time that can be stopped, its state line, its problem, its
 * results and its statistics. A view is a description of this class's; the page makes it when it is first wanted.
 */
import { announce } from "../announcer.js";
import { make } from "../dom.js";
import { done, intend } from "../journal.js";
import { TEXT_TOO_LONG, clearProblem, detailsOf, isAbort, isDead, isTooLong, showAdvice, showProblem } from "../problem.js";
import { showReceipt } from "../receipt_panel.js";
import { showEncoderRun, showStatistics } from "../statistics.js";
import { makeField } from "./fields.js";

/** @typedef {Awaited<ReturnType<typeof import("../../featherweight.js").loadModel>>} Model */

/**
 * What a run is given. `say` writes the state line, `show` the results in place of those before.
 * @typedef {object} Run
 * @property {Model} model
 * @property {Record<string, string>} values of the fields
 * @property {AbortSignal} signal
 * @property {(state: string) => void} say
 * @property {(...results: (Node | string)[]) => void} show
 */

/**
 * @typedef {object} Task
 * @property {string} name begins the ids of its elements
 * @property {string} title
 * @property {import("./fields.js").Field[]} fields
 * @property {string} action the word on the button
 * @property {boolean} [generates] whether it writes token by token; else it reads texts
 * @property {(view: TaskView, model: Model) => void} [opened] fits the form to a model
 * @property {(run: Run) => Promise<{texts?: number, summary: string}>} run `summary` ends on the state line; `texts` were
 *   read
 */

/** Texts that go to the worker in one call: few enough that the state line moves and a stop is quick. */
const BATCH = 8;
/** A run shorter than this is over before a stop button could be used. */
const STOPPABLE_MS = 300;

export class TaskView {
  /** @type {HTMLElement | null} */
  #root = null;
  /** @type {Model | null} */
  #model = null;
  /** @type {() => void} */
  #reload = () => {};
  /** @type {AbortController | null} */
  #running = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stopTimer;
  /** @type {Record<string, import("./fields.js").FieldParts>} */
  #fields = {};

  /** @param {Task} task */
  constructor(task) {
    this.task = task;
    this.name = task.name;
    this.title = task.title;
    this.generates = task.generates ?? false;
    this.button = make("button", "primary", task.action);
    this.stopButton = make("button", "stop", "Stop");
    this.stateLine = make("p", "task-state small");
    this.problemSlot = make("div", "problem-slot");
    this.results = make("div", "task-results");
  }

  /** What the page shows of it. */
  get root() {
    this.#root ??= this.#build();
    return this.#root;
  }

  /** @param {string} name */
  field(name) {
    void this.root;
    return this.#fields[name];
  }

  /**
   * @param {Model} model
   * @param {{reload: () => void}} actions what the retry button does when the model itself died
   */
  open(model, { reload }) {
    void this.root;
    this.stop();
    this.#reload = reload;
    this.#setRunning(null);
    this.#model = model;
    this.results.replaceChildren();
    this.stateLine.textContent = "";
    clearProblem(this.problemSlot);
    this.task.opened?.(this, model);
  }

  stop() {
    this.#running?.abort();
  }

  #build() {
    const { name, fields } = this.task;
    const root = make("div", "task");
    root.id = `${name}-panel`;
    const form = make("form", "task-form");
    for (const field of fields) {
      const parts = makeField(name, field);
      this.#fields[field.name] = parts;
      form.append(parts.root);
    }
    this.button.dataset.testid = `${name}-button`;
    this.stopButton.type = "button";
    this.stopButton.dataset.testid = `${name}-stop`;
    this.stopButton.hidden = true;
    this.stopButton.addEventListener("click", () => this.stop());
    const buttons = make("div", "run-buttons");
    buttons.append(this.button, this.stopButton);
    const last = fields[fields.length - 1];
    const beside = !last.rows;
    if (beside) this.#fields[last.name].row.append(buttons);
    else form.append(buttons);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    this.stateLine.dataset.testid = `${name}-state`;
    this.results.dataset.testid = `${name}-results`;
    root.append(form, this.stateLine, this.problemSlot, this.results);
    return root;
  }

  async #start() {
    const model = this.#model;
    if (!model || this.#running) return;
    const controller = new AbortController();
    this.#setRunning(controller);
    clearProblem(this.problemSlot);
    const values = Object.fromEntries(Object.entries(this.#fields).map(([name, { box }]) => [name, box.value]));
    const current = () => this.#model === model;
    const started = performance.now();
    intend({ id: model.id, dtype: model.dtype, step: "first run", contextLength: model.contextLength });
    try {
      const { texts = 0, summary } = await this.task.run({
        model,
        values,
        signal: controller.signal,
        say: (state) => current() && (this.stateLine.textContent = state),
        show: (...results) => current() && this.results.replaceChildren(...results),
      });
      if (!current()) return;
      this.stateLine.textContent = summary;
      announce(summary);
      showStatistics(model.stats);
      showReceipt(model.receipt);
      if (texts > 0) showEncoderRun(texts, (performance.now() - started) / 1000);
    } catch (error) {
      if (!current()) return;
      showStatistics(model.stats);
      this.stateLine.textContent = isAbort(error) ? "Stopped." : "";
      if (isAbort(error)) announce("Stopped.");
      else this.#showProblem(error);
    } finally {
      done();
      if (this.#running === controller) this.#setRunning(null);
    }
  }

  /** @param {unknown} error */
  #showProblem(error) {
    const again = () => this.#start();
    if (isTooLong(error)) showAdvice(this.problemSlot, TEXT_TOO_LONG, detailsOf(error), again);
    else showProblem(this.problemSlot, error, isDead(error) ? this.#reload : again);
    this.problemSlot.scrollIntoView({ block: "nearest" });
  }

  /** @param {AbortController | null} controller of the run that begins; null: none runs any more */
  #setRunning(controller) {
    this.#running = controller;
    const running = controller !== null;
    this.button.setAttribute("aria-disabled", String(running));
    this.results.setAttribute("aria-busy", String(running));
    clearTimeout(this.#stopTimer);
    if (running) this.#stopTimer = setTimeout(() => this.#offerStop(true), STOPPABLE_MS);
    else this.#offerStop(false);
  }

  /** @param {boolean} on whether the stop button stands in the place of the other */
  #offerStop(on) {
    const hadFocus = document.activeElement === (on ? this.button : this.stopButton);
    this.button.hidden = on;
    this.stopButton.hidden = !on;
    if (hadFocus) (on ? this.stopButton : this.button).focus({ preventScroll: true });
  }
}

/**
 * Runs `call` over texts, some at a time, and says how far it is.
 * @template Result
 * @param {Run} run
 * @param {string[]} texts
 * @param {(batch: string[]) => Promise<Result[]>} call
 * @returns {Promise<Result[]>}
 */
export async function inBatches({ say }, texts, call) {
  /** @type {Result[]} */
  const results = [];
  for (let start = 0; start < texts.length; start += BATCH) {
    say(`Reading ${start + 1} of ${texts.length}…`);
    results.push(...(await call(texts.slice(start, start + BATCH))));
  }
  return results;
}
