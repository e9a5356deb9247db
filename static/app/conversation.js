/** Owns one conversation: its turns, what the model is given of them, and what survives a reload. */
import { recall, remember } from "../local_storage.js";

/** @typedef {import("../featherweight.js").Message} Message */

const LONGEST_KEPT = 200_000;

export class Conversation {
  /** @type {Message[]} */
  turns;
  #key;

  /** @param {string} modelId each model has a conversation of its own */
  constructor(modelId) {
    this.#key = `conversation.${modelId}`;
    this.turns = readTurns(recall(this.#key));
  }

  /**
   * @param {"user" | "assistant"} role
   * @param {string} content
   */
  add(role, content) {
    this.turns.push({ role, content });
    this.#save();
  }

  /** Takes back the last turn when it is the reader's: the answer to it failed. */
  takeBackQuestion() {
    if (this.turns.at(-1)?.role !== "user") return;
    this.turns.pop();
    this.#save();
  }

  clear() {
    this.turns = [];
    this.#save();
  }

  /**
   * What the model reads.
   * @param {string} systemPrompt empty: none
   * @returns {Message[]}
   */
  prompt(systemPrompt) {
    return systemPrompt ? [{ role: "system", content: systemPrompt }, ...this.turns] : [...this.turns];
  }

  #save() {
    const kept = capTurns(this.turns, LONGEST_KEPT);
    remember(this.#key, kept.length > 0 ? kept : undefined);
  }
}

/**
 * The newest turns whose text stays within `limit` characters, starting with a question.
 * @param {Message[]} turns
 * @param {number} limit
 * @returns {Message[]}
 */
export function capTurns(turns, limit) {
  let length = 0;
  let first = turns.length;
  while (first > 0 && length + turns[first - 1].content.length <= limit) {
    first -= 1;
    length += turns[first].content.length;
  }
  while (first < turns.length && turns[first].role !== "user") first += 1;
  return turns.slice(first);
}

/**
 * Turns out of storage that others may have written: whatever is not a turn is dropped.
 * @param {unknown} stored
 * @returns {Message[]}
 */
export function readTurns(stored) {
  if (!Array.isArray(stored)) return [];
  return stored
    .filter((turn) => (turn?.role === "user" || turn?.role === "assistant") && typeof turn?.content === "string")
    .map(({ role, content }) => ({ role, content }));
}
