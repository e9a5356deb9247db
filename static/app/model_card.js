/** Owns one model on the list: its facts, its weight on the scale, what of it is here, and the load when it runs. */
import { byPreference } from "../device/choice.js";
import { fit, ghostRun, removeVariant, variantStatus } from "../featherweight.js";
import { announce } from "./announcer.js";
import { find, fromTemplate, make } from "./dom.js";
import { downloadPanel } from "./download_panel.js";
import { formatBytes, formatCount, formatParameters, formatPart } from "./format.js";
import { recall, remember } from "../local_storage.js";
import { forgetPlan, plannedContext, plannedFor } from "./journal.js";
import { clearProblem, showAdvice, showProblem, unfinished } from "./problem.js";
import { modelScale } from "./scale.js";
import { describeVariant, describeVerdict, licenseName, taskName } from "./wording.js";

/**
 * @typedef {import("../featherweight.js").ModelRow} ModelRow
 * @typedef {import("../featherweight.js").Device} Device
 * @typedef {{presentBytes: number, totalBytes: number, complete: boolean}} Status
 */

const TRIAL = "Try its speed without the download";
const NO_BREAK = "\u00a0";

export class ModelCard {
  /** @type {Status | null} */
  status = null;
  /** @type {import("../featherweight.js").Verdict | null} */
  verdict = null;
  /** What a trial run of the chosen variant measured. @type {import("../weigh_in.js").GhostRun | null} */
  #ghost = null;
  #loading = false;
  /** Whether the reader or the address chose the variant; until then it is the best for this device. */
  #chosen = false;
  /** @type {string | null} */
  #runningDtype = null;
  #asked = 0;
  /** @type {{download: number, memory?: number, limit?: number}} */
  #sizes = { download: 0 };
  /** @type {Promise<Device> | null} */
  #device = null;

  /**
   * @param {ModelRow} row
   * @param {{open: (card: ModelCard) => void, cancel: () => void, removed: (card: ModelCard) => void}} actions
   */
  constructor(row, actions) {
    this.row = row;
    this.root = fromTemplate("model-template");
    this.root.dataset.testid = `model-card-${row.id}`;
    find(this.root, ".model-name", HTMLElement).textContent = row.name;
    find(this.root, ".model-facts", HTMLElement).textContent = [
      taskName(row.task),
      `${formatParameters(row.parameters)} parameters`,
      licenseName(row.license),
      `reads ${formatCount(row.context_length)} tokens`,
    ]
      .map((fact) => fact.replaceAll(" ", NO_BREAK))
      .join(`${NO_BREAK}· `);

    this.scale = modelScale();
    find(this.root, ".model-scale", HTMLElement).append(this.scale.root);
    this.progress = downloadPanel(find(this.root, ".model-progress", HTMLElement), row.name);
    this.problemSlot = find(this.root, ".problem-slot", HTMLElement);

    this.select = find(this.root, ".variant", HTMLSelectElement);
    this.select.dataset.testid = `dtype-select-${row.id}`;
    this.select.setAttribute("aria-label", `Variant of ${row.name}`);
    for (const variant of row.variants) {
      const option = make("option", "", describeVariant(variant));
      option.value = variant.dtype;
      this.select.append(option);
    }
    this.select.addEventListener("change", () => {
      this.#ghost = null;
      this.#chosen = true;
      clearProblem(this.problemSlot);
      this.weigh();
    });
    this.trialButton = find(this.root, ".trial", HTMLButtonElement);
    this.trialButton.dataset.testid = `trial-button-${row.id}`;
    this.trialButton.addEventListener("click", () => this.#try());

    this.openButton = find(this.root, ".open", HTMLButtonElement);
    this.openButton.dataset.testid = `download-button-${row.id}`;
    this.openButton.addEventListener("click", () => actions.open(this));
    this.cancelButton = find(this.root, ".cancel", HTMLButtonElement);
    this.cancelButton.addEventListener("click", actions.cancel);
    this.removeButton = find(this.root, ".remove", HTMLButtonElement);
    this.removeButton.dataset.testid = `remove-button-${row.id}`;
    this.removeButton.addEventListener("click", async () => {
      await this.#remove();
      actions.removed(this);
    });
    this.select.value = (byPreference(row.variants)[0] ?? row.variants[0]).dtype;
    const { dtype: planned } = plannedFor(row.id);
    if (planned) this.choose(planned);
    this.#sizes = { download: this.variant.download_bytes };
    this.#draw();
  }

  get dtype() {
    return this.select.value;
  }

  get #contextLength() {
    return plannedContext(this.row.id, this.row.context_length);
  }

  /** A variant shares its tokenizer with its siblings, so bytes alone do not say whether its own download has begun. */
  get #begunKey() {
    return `begun.${this.row.id}.${this.dtype}`;
  }

  /** @param {string} dtype ignored when the model has no such variant */
  choose(dtype) {
    if (!this.row.variants.some((variant) => variant.dtype === dtype)) return;
    this.select.value = dtype;
    this.#chosen = true;
  }

  /**
   * Asks the store and the scale about the chosen variant, and shows both answers.
   * @param {Promise<Device>} [device]
   */
  async weigh(device) {
    this.#device = device ?? this.#device;
    const ask = ++this.#asked;
    this.status = null;
    this.#sizes = { download: this.variant.download_bytes };
    this.#draw();
    const { manifest_url: url } = this.row;
    const dtype = this.dtype;
    try {
      const status = await variantStatus(url, dtype);
      if (ask !== this.#asked) return;
      this.status = status;
    } catch (error) {
      // The store only tells how much is here already; a load shows its own error.
      console.warn(`No status of ${this.row.id} ${dtype}:`, error);
    }
    if (ask === this.#asked) this.#draw();
    await this.#showVerdict(ask);
  }

  /** @param {number} ask @returns {Promise<void>} */
  async #showVerdict(ask) {
    const text = find(this.root, ".verdict-text", HTMLElement);
    const why = find(this.root, ".verdict-why", HTMLDetailsElement);
    try {
      const device = await this.#device;
      const dtype = this.#chosen ? this.dtype : undefined;
      const contextLength = this.#contextLength;
      const verdict = await fit(this.row.manifest_url, { device: device ?? undefined, dtype, contextLength, ghost: this.#ghost });
      if (ask !== this.#asked) return;
      if (verdict.plan.dtype !== this.dtype) {
        this.select.value = verdict.plan.dtype;
        return this.weigh();
      }
      this.verdict = verdict;
      this.root.dataset.verdict = verdict.supported ? (verdict.smooth === false ? "slow" : "fits") : "too-heavy";
      text.textContent = describeVerdict(verdict);
      find(why, "ul", HTMLElement).replaceChildren(...verdict.why.map((reason) => make("li", "", reason)));
      why.open = !verdict.supported;
      this.root.classList.toggle("model-too-heavy", !verdict.supported);
      const { need, limit } = verdict.memory;
      this.#sizes = { download: this.variant.download_bytes, memory: need, limit };
      this.scale.show(this.#sizes);
    } catch (error) {
      if (ask !== this.#asked) return;
      text.textContent = "This model could not be weighed.";
      find(why, "ul", HTMLElement).replaceChildren(make("li", "", error instanceof Error ? error.message : String(error)));
    }
  }

  /** Runs the plan over synthetic weights: what it measures replaces what was predicted. */
  async #try() {
    clearProblem(this.problemSlot);
    this.#chosen = true;
    this.trialButton.disabled = true;
    this.trialButton.textContent = "Trying…";
    try {
      this.#ghost = await ghostRun(this.row.manifest_url, { dtype: this.dtype, contextLength: this.#contextLength });
      await this.weigh();
      announce(find(this.root, ".verdict-text", HTMLElement).textContent ?? "");
    } catch (error) {
      this.showProblem(error, () => this.#try());
    } finally {
      this.trialButton.disabled = false;
      this.trialButton.textContent = TRIAL;
    }
  }

  get variant() {
    const variant = this.row.variants.find(({ dtype }) => dtype === this.dtype);
    if (!variant) throw new Error(`${this.row.id} has no variant ${this.dtype}`);
    return variant;
  }

  /** Turns the scale into the progress bar of a load. */
  startLoading() {
    this.#loading = true;
    this.#chosen = true;
    remember(this.#begunKey, true);
    clearProblem(this.problemSlot);
    this.progress.start(this.status?.presentBytes ?? 0, this.variant.download_bytes);
    this.#draw();
    this.cancelButton.focus();
  }

  /** Turns the progress bar back into the scale. */
  stopLoading() {
    this.#loading = false;
    const hadFocus = document.activeElement === this.cancelButton;
    this.#draw();
    if (hadFocus) this.openButton.focus();
  }

  /** @param {string | null} dtype the variant that runs, if one does */
  setRunning(dtype) {
    this.#runningDtype = dtype;
    this.#draw();
  }

  /** @param {boolean} busy another card loads */
  setBusy(busy) {
    this.openButton.disabled = busy;
    this.removeButton.disabled = busy;
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   */
  showProblem(error, retry) {
    showProblem(this.problemSlot, error, retry);
  }

  /**
   * Says that the tab died the last time this model was opened, as far as one can tell, and what is planned now.
   * @param {import("./journal.js").Entry} entry
   * @param {import("./journal.js").Plan} plan
   * @param {() => void} retry
   */
  showUnfinished({ dtype, step, contextLength }, plan, retry) {
    const next = plan.contextLength
      ? `The next try keeps to ${formatCount(plan.contextLength)} tokens of context.`
      : plan.dtype
        ? `The next try takes the smaller variant, ${plan.dtype}.`
        : "This is the smallest there is of this model: choose a smaller model.";
    const details = `${this.row.id}, ${dtype}: the tab ended at the step "${step}" with a context of ${formatCount(contextLength)} tokens.`;
    showAdvice(this.problemSlot, unfinished(next), details, retry);
  }

  async #remove() {
    try {
      await removeVariant(this.row.manifest_url, this.dtype);
      remember(this.#begunKey, undefined);
      forgetPlan(this.row.id);
      clearProblem(this.problemSlot);
      announce(`${this.row.name} was removed from this device.`);
      await this.weigh();
      this.openButton.focus();
    } catch (error) {
      this.showProblem(error, () => this.#remove());
    }
  }

  #draw() {
    const { presentBytes = 0, complete = false } = this.status ?? {};
    const running = this.#runningDtype === this.dtype;
    const { download_bytes: total } = this.variant;
    const begun = presentBytes > 0 && recall(this.#begunKey) === true;
    find(this.root, ".model-weight", HTMLElement).hidden = this.#loading;
    find(this.root, ".model-progress", HTMLElement).hidden = !this.#loading;
    find(this.root, ".model-here", HTMLElement).hidden = !complete;
    this.select.disabled = this.#loading;
    this.openButton.hidden = this.#loading;
    this.openButton.textContent = running
      ? "Continue"
      : complete
        ? "Open"
        : begun
          ? `Resume, ${formatPart(presentBytes, total)} here`
          : `Download ${formatBytes(total - presentBytes)}`;
    this.cancelButton.hidden = !this.#loading;
    this.removeButton.hidden = this.#loading || running || !(begun || complete);
    this.removeButton.textContent = complete ? "Remove" : "Discard";
    this.removeButton.setAttribute("aria-label", `${this.removeButton.textContent} ${this.row.name}, ${this.dtype}`);
    this.scale.show(this.#sizes);
  }
}
