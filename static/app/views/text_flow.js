/** Owns text that arrives in pieces: it is put on the page once a frame, however fast it comes. */

export class TextFlow {
  #node;
  #beside;
  #waiting = "";
  #frame = 0;

  /**
   * @param {Text} node grows
   * @param {(put: () => void) => void} [beside] does what belongs to a frame, and puts the text in between
   */
  constructor(node, beside = (put) => put()) {
    this.#node = node;
    this.#beside = beside;
  }

  /** @param {string} text */
  push(text) {
    this.#waiting += text;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  /** Nothing more comes: all of it is put on the page. */
  end() {
    cancelAnimationFrame(this.#frame);
    this.#draw();
  }

  #draw() {
    this.#frame = 0;
    const text = this.#waiting;
    this.#waiting = "";
    this.#beside(() => this.#node.appendData(text));
  }
}
