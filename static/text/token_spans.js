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
  return ids.map((id) => {
    const surface = tokenizer.isSpecial(id) ? "" : surfaceOf(id, tokenizer);
    const found = surface === "" ? -1 : folded.indexOf(surface, cursor);
    if (found < 0) return null;
    cursor = found + surface.length;
    return [starts[found], ends[cursor - 1]];
  });
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
