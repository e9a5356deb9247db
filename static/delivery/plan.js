/**
 * Owns the decisions of the delivery, as pure functions: which bytes to ask for in which order, which stored contents
 * to remove.
 */

/**
 * A run of chunks of one file, fetched with one Range request.
 * @typedef {object} Span
 * @property {number} file index into the planned files
 * @property {number} first index of the first chunk
 * @property {number} end index after the last chunk
 */

/**
 * Cuts the missing chunks into requests.
 *
 * Spans keep the order of the files and of the chunks in them: what the model uses first arrives first. A span is at
 * most `maxSpanChunks` long and at most a connection's fair share of what is still unplanned, so the spans shrink
 * towards the end and the connections finish together, whatever file the last bytes belong to.
 * @param {readonly (readonly number[])[]} missing for each file its missing chunks, ascending
 * @param {{connections: number, maxSpanChunks: number}} limits
 * @returns {Span[]}
 */
export function planSpans(missing, { connections, maxSpanChunks }) {
  let unplanned = missing.reduce((total, chunks) => total + chunks.length, 0);
  /** @type {Span[]} */
  const spans = [];
  missing.forEach((chunks, file) => {
    let at = 0;
    while (at < chunks.length) {
      const limit = Math.max(1, Math.min(maxSpanChunks, Math.ceil(unplanned / connections)));
      let length = 1;
      while (length < limit && chunks[at + length] === chunks[at] + length) length++;
      spans.push({ file, first: chunks[at], end: chunks[at] + length });
      at += length;
      unplanned -= length;
    }
  });
  return spans;
}

/**
 * The contents of a variant that may be deleted: all but those which another variant, of which something is here,
 * also uses. A variant counts as here when a content that the removed one does not use has stored bytes.
 * @param {readonly string[]} removed sha256 of each file of the variant to remove
 * @param {readonly (readonly string[])[]} others the same of each other variant
 * @param {(sha256: string) => number} presentBytes
 * @returns {string[]} sha256
 */
export function removableContents(removed, others, presentBytes) {
  const own = new Set(removed);
  const kept = new Set();
  for (const contents of others) {
    const isHere = contents.some((sha256) => !own.has(sha256) && presentBytes(sha256) > 0);
    if (isHere) for (const sha256 of contents) kept.add(sha256);
  }
  return removed.filter((sha256) => !kept.has(sha256));
}
