/** Owns the way back from tokens to where they stand in a text, which tokenizers here do not tell. */

/**
 * Finds tokens in a text one after the other, whatever the tokenizer did to case and accents.
 * @param {string} text
 * @param {readonly number[]} ids of the text, special tokens among them
 * @param {import("./tokenizer.js").Tokenizer} tokenizer
 * @returns {([number, number] | null)[]} per token where it begins and ends in `text`; null for what is not found
 */
export function tokenSpans(text, ids, tokenizer) {
  const { folded, starts, ends } = fold(text);
  let cursor = 0;
  /** @type {([number, number] | null)[]} */
  const spans = ids.map((id) => {
    const surface = tokenizer.isSpecial(id) ? "" : surfaceOf(id, tokenizer);
    const found = surface === "" ? -1 : folded.indexOf(surface, cursor);
    if (found < 0) return null;
    cursor = found + surface.length;
    return [starts[found], ends[cursor - 1]];
  });
  const places = ids.map((id, at) => (tokenizer.isText(id) ? at : -1)).filter((at) => at >= 0);
  places.forEach((at, order) => {
    spans[at] ??= between(text, order > 0 ? spans[places[order - 1]] : [0, 0], spans[places[order + 1] ?? -1], order === places.length - 1);
  });
  return spans;
}

/**
 * An unknown token between two that were found is what stands between them.
 * @param {string} text
 * @param {[number, number] | null} before
 * @param {[number, number] | null | undefined} after
 * @param {boolean} last whether nothing comes after
 * @returns {[number, number] | null}
 */
function between(text, before, after, last) {
  const stop = last ? text.length : after?.[0];
  if (!before || stop === undefined) return null;
  const gap = text.slice(before[1], stop);
  const start = before[1] + gap.length - gap.trimStart().length;
  const end = start + gap.trim().length;
  return end > start ? [start, end] : null;
}

/**
 * A text as tokens are compared with it: without case, accents and white space.
 * @param {string} text
 * @returns {{folded: string, starts: number[], ends: number[]}} per character of `folded`, where its own was in the text
 */
function fold(text) {
  /** @type {number[]} */
  const starts = [];
  /** @type {number[]} */
  const ends = [];
  let folded = "";
  let at = 0;
  for (const character of text) {
    const plain = foldCharacter(character);
    folded += plain;
    for (let unit = 0; unit < plain.length; unit += 1) {
      starts.push(at);
      ends.push(at + character.length);
    }
    at += character.length;
  }
  return { folded, starts, ends };
}

/** @param {string} text */
function foldCharacter(text) {
  return text.normalize("NFKD").replace(/[\p{M}\s]/gu, "").toLowerCase();
}

/**
 * The token as it stands in a text: without the marks for "goes on" (##) and "a space before" (▁).
 * @param {number} id
 * @param {import("./tokenizer.js").Tokenizer} tokenizer
 */
function surfaceOf(id, tokenizer) {
  const token = tokenizer.tokenOf(id) ?? "";
  const text = token.startsWith("##") ? token.slice(2) : tokenizer.decode([id], { skipSpecialTokens: false });
  return foldCharacter(text.replaceAll("\u2581", ""));
}
