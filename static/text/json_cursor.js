/** Owns a cursor over the bytes of a JSON text: large ones are walked without ever being JavaScript objects; a leaf. */

const [QUOTE, BACKSLASH, COMMA, ZERO, NINE] = [...'"\\,09'].map((char) => char.charCodeAt(0));
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [..."[]{}"].map((char) => char.charCodeAt(0));
const SPACE = 32;

export class JsonCursor {
  /** Raw bytes of the string that was passed last, and whether escapes are among them. */
  stringStart = 0;
  stringEnd = 0;
  escaped = false;

  /** @param {Uint8Array} bytes UTF-8 @param {number} [at] where the next value begins */
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  /** The next byte that is no white space; undefined at the end. @returns {number | undefined} */
  peek() {
    while (this.bytes[this.at] <= SPACE) this.at++;
    return this.bytes[this.at];
  }

  /** Passes one character, if it is the next. @param {string} char @returns {boolean} whether it was */
  accept(char) {
    const next = this.peek() === char.charCodeAt(0);
    if (next) this.at++;
    return next;
  }

  /** @param {string} char @throws {SyntaxError} */
  expect(char) {
    if (!this.accept(char)) throw this.#unexpected(`"${char}"`);
  }

  /** Passes a string: see stringStart. @throws {SyntaxError} */
  string() {
    if (this.peek() !== QUOTE) throw this.#unexpected("a string");
    const { bytes } = this;
    let at = this.at + 1;
    this.stringStart = at;
    this.escaped = false;
    for (; bytes[at] !== QUOTE; at++) {
      if (bytes[at] === BACKSLASH) {
        this.escaped = true;
        at++;
      }
      if (at >= bytes.length) throw this.#unexpected("the end of a string");
    }
    this.stringEnd = at;
    this.at = at + 1;
  }

  /** The text of the string that was passed last. @returns {string} @throws {SyntaxError} */
  text() {
    const raw = new TextDecoder().decode(this.bytes.subarray(this.stringStart, this.stringEnd));
    return this.escaped ? JSON.parse(`"${raw}"`) : raw;
  }

  /** Passes a whole number that is not negative. @returns {number} @throws {SyntaxError} */
  count() {
    let value = 0;
    let next = this.peek();
    if (next === undefined || next < ZERO || next > NINE) throw this.#unexpected("a whole number");
    for (; next >= ZERO && next <= NINE; next = this.bytes[++this.at]) value = 10 * value + next - ZERO;
    return value;
  }

  /** Passes any value. @throws {SyntaxError} where it does not end */
  skip() {
    let depth = 0;
    do {
      const next = this.peek();
      if (next === undefined) throw this.#unexpected("a value");
      if (next === QUOTE) {
        this.string();
        continue;
      }
      if (next === OPEN_ARRAY || next === OPEN_OBJECT) depth++;
      else if (next === CLOSE_ARRAY || next === CLOSE_OBJECT) depth--;
      this.at++;
      // A number or a word, and what stands between the values of a list, has no inside.
      if (depth === 0) while (isInWord(this.bytes[this.at])) this.at++;
    } while (depth > 0);
  }

  /** Walks an object: each time the cursor is at a value, which the caller passes. @returns {Generator<string, void, void>} its keys */
  *keys() {
    this.expect("{");
    if (this.accept("}")) return;
    do {
      this.string();
      const key = this.text();
      this.expect(":");
      yield key;
    } while (this.accept(","));
    this.expect("}");
  }

  /** @param {string} wanted */
  #unexpected(wanted) {
    return new SyntaxError(`its JSON has no ${wanted} at byte ${this.at}`);
  }
}

/** @param {number | undefined} byte */
function isInWord(byte) {
  return byte !== undefined && byte > SPACE && byte !== COMMA && byte !== CLOSE_ARRAY && byte !== CLOSE_OBJECT;
}
