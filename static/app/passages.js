/** Owns how pasted text becomes passages, lines and labels, and how vectors rank them. Pure. */

/**
 * One passage a line; where empty lines part the text, one a paragraph.
 * @param {string} text
 * @returns {string[]}
 */
export function splitPassages(text) {
  const trimmed = text.trim();
  const parts = /\n\s*\n/.test(trimmed) ? trimmed.split(/\n\s*\n/) : trimmed.split("\n");
  return parts.map((part) => part.replace(/\s+/g, " ").trim()).filter(Boolean);
}

/**
 * A label, and what stands after its colon: the words that the model compares.
 * @typedef {{name: string, meaning: string}} Label
 */

/**
 * @param {string} text one label a line, "name" or "name: meaning"
 * @returns {Label[]} no name twice
 */
export function splitLabels(text) {
  const labels = new Map();
  for (const line of text.split("\n")) {
    const [name, ...rest] = line.split(":");
    const meaning = rest.join(":").trim();
    if (name.trim()) labels.set(name.trim(), meaning || name.trim());
  }
  return [...labels].map(([name, meaning]) => ({ name, meaning }));
}

/**
 * Passages by the cosine of their vectors with the query's, best first.
 * @param {ArrayLike<number>} query
 * @param {ArrayLike<number>[]} vectors
 * @returns {{index: number, score: number}[]}
 */
export function rank(query, vectors) {
  return vectors.map((vector, index) => ({ index, score: cosine(query, vector) })).sort((a, b) => b.score - a.score);
}

/**
 * @param {ArrayLike<number>} a
 * @param {ArrayLike<number>} b as long as a
 */
export function cosine(a, b) {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let index = 0; index < a.length; index += 1) {
    dot += a[index] * b[index];
    aa += a[index] * a[index];
    bb += b[index] * b[index];
  }
  return aa > 0 && bb > 0 ? dot / Math.sqrt(aa * bb) : 0;
}

/**
 * The lines of a text that say something.
 * @param {string} text
 * @returns {{text: string, start: number}[]} `start`: where the line begins in the text
 */
export function splitLines(text) {
  return [...text.matchAll(/[^\n]*\S[^\n]*/g)].map((line) => ({ text: line[0], start: line.index }));
}

/**
 * A text with another beginning.
 * @param {string} text
 * @param {readonly string[]} known beginnings, one of which may be there
 * @param {string} prefix
 */
export function swapPrefix(text, known, prefix) {
  const old = known.filter((item) => text.startsWith(item)).sort((a, b) => b.length - a.length)[0] ?? "";
  return prefix + text.slice(old.length);
}
