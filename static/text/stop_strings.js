/** Owns the ending of an answer at a stop string, in streamed text that may deliver the string in parts. */

export class StopStrings {
  #stops;
  #held = "";

  /** @param {readonly string[]} stops none of them empty */
  constructor(stops) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /**
   * @param {string} text
   * @returns {{text: string, stopped: boolean}} what may be shown: everything before the first stop string, less an end
   *   that could be the start of one
   */
  push(text) {
    const all = this.#held + text;
    const first = Math.min(...this.#stops.map((stop) => all.indexOf(stop)).filter((at) => at >= 0));
    if (first !== Infinity) {
      this.#held = "";
      return { text: all.slice(0, first), stopped: true };
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(all, stop)));
    this.#held = all.slice(all.length - keep);
    return { text: all.slice(0, all.length - keep), stopped: false };
  }

  /** @returns {string} what was held back, for an answer that ends otherwise */
  flush() {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}

/**
 * The length of the longest end of `text` that is a proper start of `stop`.
 * @param {string} text
 * @param {string} stop
 */
function overlap(text, stop) {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length -= 1) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
