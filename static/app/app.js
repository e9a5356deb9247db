/** Owns the page: which of its two views is shown, which model runs, and the address that says so. */
import { loadModel, probeDevice } from "../featherweight.js";
import { announce } from "./announcer.js";
import { keepPageOffline, watchConnectivity } from "./connectivity.js";
import { setUpDevicePanel, showDevice } from "./device_panel.js";
import { byId } from "./dom.js";
import { LOADING_STEPS, done, intend, planSmaller, plannedContext, takeUnfinished } from "./journal.js";
import { ModelList } from "./model_list.js";
import { isAbort } from "./problem.js";
import { restoreSettings, runSettings } from "./settings.js";
import { Workspace } from "./workspace.js";

/**
 * @typedef {import("./model_card.js").ModelCard} ModelCard
 * @typedef {Awaited<ReturnType<typeof loadModel>>} Model
 */

/** @type {{model: Model, card: ModelCard, dtype: string} | null} */
let running = null;
/** @type {AbortController | null} */
let loading = null;

const offlineReady = keepPageOffline();
const list = new ModelList({ open, cancel: () => loading?.abort(), removed: () => showDevice(probeDevice({ measure: false })) });
const workspace = new Workspace({ reload });

start();

async function start() {
  watchConnectivity();
  restoreSettings();
  const facts = probeDevice({ measure: false });
  showDevice(facts);
  setUpDevicePanel({ measure: () => weigh({ fresh: true }) });
  byId("back-button", HTMLElement).addEventListener("click", () => visit(null));
  byId("home-link", HTMLElement).addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (running && !byId("workspace", HTMLElement).hidden) visit(null);
  });
  addEventListener("popstate", showAddress);
  // Whoever leaves in the middle of a load does so on purpose: only a tab that dies leaves the note behind.
  addEventListener("pagehide", done);
  if (!(await list.fetch(facts))) return;
  await openAddressed();
  await weigh();
}

/** Measures the device, again while it is too busy for that, and says of every model how fast it will be. @param {{fresh?: boolean}} [options] */
async function weigh(options) {
  for (let tries = 0; tries < 3; tries++) {
    const device = probeDevice(options);
    await showDevice(device);
    list.weigh(device);
    if ((await device.catch(() => null))?.rates) return;
  }
}

/** Opens what the address names, when it is wholly here and the last try did not kill the tab: that is told of instead. */
async function openAddressed() {
  const unfinished = await takeUnfinished();
  const died = unfinished && list.find(unfinished.id);
  const { id, dtype } = readAddress();
  const card = died ?? list.find(id);
  if (!card) return;
  const plan = died ? planSmaller(unfinished, died.row) : {};
  const wanted = plan.dtype ?? (died ? unfinished.dtype : dtype);
  if (wanted) card.choose(wanted);
  await card.weigh();
  if (died) {
    card.showUnfinished(unfinished, plan, () => open(card));
  } else if (card.status?.complete) {
    await open(card);
    return;
  }
  card.root.scrollIntoView({ block: "center" });
}

/** @param {ModelCard} card */
async function open(card) {
  if (loading) return;
  const { dtype } = card;
  if (running && running.card === card && running.dtype === dtype) {
    visit(card);
    return;
  }
  const controller = new AbortController();
  loading = controller;
  await closeRunning();
  list.setLoading(card);
  card.startLoading();
  const contextLength = plannedContext(card.row.id, card.row.context_length);
  /** @type {import("./journal.js").Step | null} */
  let noted = null;
  /** @param {import("../featherweight.js").LoadProgress["phase"]} phase */
  const note = (phase) => {
    const step = LOADING_STEPS[phase];
    if (step && step !== noted) intend({ id: card.row.id, dtype, step, contextLength });
    noted = step;
  };
  note("download");
  try {
    await offlineReady;
    const { backend, threads } = runSettings();
    const model = await loadModel(card.row.manifest_url, {
      dtype,
      backend,
      threads,
      contextLength,
      signal: controller.signal,
      onProgress: (progress) => {
        note(progress.phase);
        card.progress.update(progress);
      },
    });
    running = { model, card, dtype };
    card.setRunning(dtype);
    visit(card);
    workspace.open(model);
    announce(`${model.name} is ready.`);
    settle(card);
  } catch (error) {
    await settle(card);
    if (isAbort(error)) announce("Stopped. What has arrived is kept.");
    else card.showProblem(error, () => open(card));
  }
}

/**
 * The end of a load, whichever it was: the card says again what is here.
 * @param {ModelCard} card
 */
async function settle(card) {
  loading = null;
  done();
  list.setLoading(null);
  card.stopLoading();
  showDevice(probeDevice({ measure: false }));
  await card.weigh();
}

/** Loads the model again after it died under an answer. */
async function reload() {
  if (!running) return;
  const { card } = running;
  await closeRunning();
  visit(null);
  await open(card);
}

async function closeRunning() {
  if (!running) return;
  workspace.pause();
  const { model, card } = running;
  running = null;
  card.setRunning(null);
  await model.dispose();
}

/** @param {ModelCard | null} card whose model is shown; null: the list */
function visit(card) {
  const address = card ? `/?${new URLSearchParams({ model: card.row.id, dtype: card.dtype })}` : "/";
  if (address !== location.pathname + location.search) history.pushState({ shown: card !== null }, "", address);
  showAddress();
}

/** Shows the view that the address names, as far as its model runs. */
function showAddress() {
  const { id } = readAddress();
  const shown = running !== null && running.card.row.id === id;
  if (shown) showWorkspace();
  else showChooser();
}

function showWorkspace() {
  byId("choose", HTMLElement).hidden = true;
  byId("colophon", HTMLElement).hidden = true;
  byId("workspace", HTMLElement).hidden = false;
}

function showChooser() {
  const left = !byId("workspace", HTMLElement).hidden;
  workspace.pause();
  byId("workspace", HTMLElement).hidden = true;
  byId("choose", HTMLElement).hidden = false;
  byId("colophon", HTMLElement).hidden = false;
  document.title = "Featherweight";
  if (left) running?.card.openButton.focus();
}

function readAddress() {
  const address = new URLSearchParams(location.search);
  return { id: address.get("model"), dtype: address.get("dtype") };
}
