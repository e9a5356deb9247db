/** Owns the chat: the log, the composer, and one streaming answer at a time. */
import { announce } from "../announcer.js";
import { Conversation } from "../conversation.js";
import { byId, make } from "../dom.js";
import { formatSeconds } from "../format.js";
import { done, intend } from "../journal.js";
import { clearProblem, isAbort, isDead, isTooLong, showProblem } from "../problem.js";
import { rateBesideExpected, showReceipt } from "../receipt_panel.js";
import { generationSettings } from "../settings.js";
import { showStatistics } from "../statistics.js";
import { TextFlow } from "./text_flow.js";

/** @typedef {Awaited<ReturnType<typeof import("../../featherweight.js").loadModel>>} Model */

const log = byId("chat-log", HTMLElement);
const empty = byId("chat-empty", HTMLElement);
const form = byId("chat-form", HTMLFormElement);
const input = byId("chat-input", HTMLTextAreaElement);
const sendButton = byId("send-button", HTMLButtonElement);
const newChatButton = byId("new-chat", HTMLButtonElement);
const stopButton = byId("stop-button", HTMLButtonElement);
const line = byId("chat-line", HTMLElement);
const problemSlot = byId("chat-problem", HTMLElement);

/** @type {Model | null} */
let model = null;
/** @type {Conversation | null} */
let conversation = null;
/** @type {AbortController | null} */
let answering = null;
/** @type {() => void} */
let reloadModel = () => {};

/** @type {import("./views.js").View} */
export const chat = { name: "chat", title: "Chat", generates: true, root: byId("chat", HTMLElement), open: openChat, stop: stopAnswer };

setUp();

/**
 * Shows the conversation with a model.
 * @param {Model} opened
 * @param {{reload: () => void}} actions what the retry button does when the model itself died
 */
function openChat(opened, { reload }) {
  abandonAnswer();
  model = opened;
  reloadModel = reload;
  conversation = new Conversation(opened.id);
  clearProblem(problemSlot);
  line.textContent = "";
  drawLog();
  input.focus({ preventScroll: true });
  if (conversation.turns.length > 0) scrollToEnd();
}

/** Stops the answer that runs, if one does. */
function stopAnswer() {
  answering?.abort();
}

/** Stops the answer that runs and wants nothing of it: what still comes in belongs to no conversation. */
function abandonAnswer() {
  if (!answering) return;
  answering.abort();
  answering = null;
  setAnswering(false);
}

/** Forgets the conversation. */
function newChat() {
  abandonAnswer();
  conversation?.clear();
  clearProblem(problemSlot);
  line.textContent = "";
  drawLog();
  announce("A new chat.");
  input.focus();
}

function setUp() {
  newChatButton.addEventListener("click", newChat);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(input.value.trim());
  });
  input.addEventListener("keydown", (event) => {
    const sends = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (!sends) return;
    event.preventDefault();
    form.requestSubmit();
  });
  input.addEventListener("input", fitInput);
  stopButton.addEventListener("click", stopAnswer);
  for (const suggestion of empty.querySelectorAll("button")) {
    suggestion.addEventListener("click", () => send(suggestion.textContent ?? ""));
  }
}

/** @param {string} text */
function send(text) {
  const settings = generationSettings();
  if (!text || !model || !conversation || answering || !settings) return;
  conversation.add("user", text);
  addMessage("user", text);
  input.value = "";
  fitInput();
  answer(model, conversation, settings);
}

/**
 * @param {Model} speaker
 * @param {Conversation} talk
 * @param {import("../settings.js").GenerationSettings} settings
 */
async function answer(speaker, talk, { systemPrompt, ...options }) {
  const controller = new AbortController();
  answering = controller;
  clearProblem(problemSlot);
  setAnswering(true);
  const { article, body } = addMessage("assistant", "");
  article.classList.add("writing");
  const words = document.createTextNode("");
  body.append(words);
  scrollToEnd();
  const flow = new TextFlow(words, (put) => {
    const atEnd = isAtEnd();
    put();
    if (answering !== controller) return;
    if (atEnd) scrollToEnd();
    showNumbers(speaker);
  });
  /** @type {unknown} */
  let failure = null;
  let began = false;
  const receiptBefore = speaker.receipt;
  intend({ id: speaker.id, dtype: speaker.dtype, step: "first run", contextLength: speaker.contextLength });
  try {
    for await (const piece of speaker.generate(talk.prompt(systemPrompt), { ...options, signal: controller.signal })) {
      if (!began) done();
      began = true;
      flow.push(piece.text);
    }
  } catch (error) {
    if (!isAbort(error)) failure = error;
  }
  done();
  flow.end();
  if (answering !== controller) return;
  answering = null;
  setAnswering(false);
  article.classList.remove("writing");
  showNumbers(speaker, speaker.receipt === receiptBefore ? null : speaker.receipt);
  showReceipt(speaker.receipt);
  settle(speaker, article, words.data.trim(), controller.signal.aborted, failure);
}

/**
 * What is left of an answer once it ended: its text, or a note, or a problem.
 * @param {Model} speaker
 * @param {HTMLElement} article
 * @param {string} text
 * @param {boolean} stopped
 * @param {unknown} failure null when there was none
 */
function settle(speaker, article, text, stopped, failure) {
  if (failure) {
    if (text) addNote(article, "Interrupted.");
    else article.remove();
    const again = () => retry(speaker, article);
    showProblem(problemSlot, failure, isDead(failure) ? reloadModel : isTooLong(failure) ? newChat : again);
    problemSlot.scrollIntoView({ block: "nearest" });
  } else if (text) {
    conversation?.add("assistant", text);
    if (stopped) addNote(article, "Stopped.");
    else if (speaker.stats.finish_reason === "length") addNote(article, "Cut at the longest answer; Settings can raise it.");
    announce(`${speaker.name}: ${text}`);
  } else {
    conversation?.takeBackQuestion();
    addNote(article, stopped ? "Stopped before the first word." : "The model had nothing to say.");
  }
}

/**
 * @param {HTMLElement} article
 * @param {string} text
 */
function addNote(article, text) {
  article.append(make("p", "message-note small", text));
}

/**
 * @param {Model} speaker
 * @param {HTMLElement} article the answer that failed
 */
function retry(speaker, article) {
  const settings = generationSettings();
  if (!settings || !conversation || speaker !== model) return;
  article.remove();
  answer(speaker, conversation, settings);
}

/** @param {Model} speaker @param {Model["receipt"]} [receipt] of the answer that ended */
function showNumbers(speaker, receipt = null) {
  const { stats } = speaker;
  showStatistics(stats);
  const { time_to_first_token_s: wait, decode_tokens_per_s: rate } = stats;
  const parts = [wait === null ? "" : `First token ${formatSeconds(wait)}`, rate === null ? "" : rateBesideExpected(rate, receipt)];
  line.textContent = parts.filter(Boolean).join(" · ");
}

/** @param {boolean} on */
function setAnswering(on) {
  const hadFocus = document.activeElement === (on ? sendButton : stopButton);
  sendButton.hidden = on;
  stopButton.hidden = !on;
  log.setAttribute("aria-busy", String(on));
  if (hadFocus) (on ? stopButton : input).focus({ preventScroll: true });
}

function drawLog() {
  for (const message of log.querySelectorAll(".message")) message.remove();
  for (const { role, content } of conversation?.turns ?? []) addMessage(role === "user" ? "user" : "assistant", content);
  empty.hidden = (conversation?.turns.length ?? 0) > 0;
}

/**
 * @param {"user" | "assistant"} role
 * @param {string} text
 */
function addMessage(role, text) {
  empty.hidden = true;
  const article = make("article", `message message-${role}`);
  article.dataset.testid = `message-${role}`;
  article.setAttribute("aria-label", role === "user" ? "You" : (model?.name ?? "Answer"));
  const body = make("div", "message-text", text);
  article.append(body);
  log.append(article);
  return { article, body };
}

function fitInput() {
  input.style.setProperty("height", "auto");
  input.style.setProperty("height", `${input.scrollHeight + input.offsetHeight - input.clientHeight}px`);
}

function isAtEnd() {
  const page = document.scrollingElement ?? document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 80;
}

function scrollToEnd() {
  const page = document.scrollingElement ?? document.documentElement;
  page.scrollTop = page.scrollHeight;
}
