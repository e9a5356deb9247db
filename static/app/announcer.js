/** Owns what a screen reader is told without being asked: few, whole sentences, never single tokens. */
import { byId } from "./dom.js";

const LONGEST = 1200;

/** @param {string} text */
export function announce(text) {
  const region = byId("announcer", HTMLElement);
  region.textContent = "";
  // A change of text in the same task as the clearing would not be spoken again when both are equal.
  setTimeout(() => {
    region.textContent = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  }, 50);
}
