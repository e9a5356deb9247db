/** Owns the writing of an answer token by token: sampling, the text of each token, and the end. */

import { throwIfAborted } from "../errors.js";
import { penalizeRepetition, randomSource, sample } from "../text/sampler.js";
import { StopStrings } from "../text/stop_strings.js";
import { StreamingDetokenizer } from "../text/streaming_detokenizer.js";

/**
 * A sampled token and the text that it completes. The text is empty for tokens that only start a character or a stop
 * string, and for the token that ends the answer.
 * @typedef {{text: string, tokenId: number}} Piece
 */

/**
 * @typedef {object} AnswerParts
 * @property {import("../text/tokenizer.js").Tokenizer} tokenizer
 * @property {ReadonlySet<number>} endIds tokens that end an answer
 * @property {() => Promise<void>} pause lets messages in, an abort among them
 */

/**
 * @param {AnswerParts} parts
 * @param {import("./run_stats.js").RunStats} stats
 * @param {object} run
 * @param {ReturnType<typeof import("./generate_options.js").checkGenerateOptions>} run.settings
 * @param {readonly number[]} run.seen tokens that a repetition penalty counts from the start
 * @param {number} run.maxNewTokens
 * @param {() => Promise<Float32Array>} run.first logits [vocab] of the first token
 * @param {(tokenId: number) => Promise<Float32Array>} run.next logits after one more token
 * @param {number | null} [run.forced] what the first token is, whatever the logits say
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<Piece, void, void>}
 */
export async function* writeAnswer({ tokenizer, endIds, pause }, stats, run, signal) {
  const { settings, maxNewTokens } = run;
  const random = randomSource(settings.seed);
  const detokenizer = new StreamingDetokenizer(tokenizer);
  const stops = new StopStrings(settings.stop);
  const seen = settings.repetitionPenalty === 1 ? null : new Set(run.seen);
  try {
    let logits = await run.first();
    for (let count = 1; ; count += 1) {
      if (seen) penalizeRepetition(logits, seen, settings.repetitionPenalty);
      const tokenId = (count === 1 ? run.forced : null) ?? sample(logits, settings, random);
      seen?.add(tokenId);
      const last = endIds.has(tokenId) ? "stop" : count >= maxNewTokens ? "length" : null;
      const { text, stopped } = textOf(tokenId, last, detokenizer, stops);
      stats.token();
      const reason = stopped ? "stop" : last;
      if (reason) stats.finish(reason);
      yield { text, tokenId };
      if (reason) return;
      await pause();
      throwIfAborted(signal);
      logits = await run.next(tokenId);
    }
  } catch (error) {
    if (signal?.aborted) stats.finish("aborted");
    throw error;
  }
}

/**
 * @param {number} tokenId
 * @param {"stop" | "length" | null} last why this is the last token, if it is
 * @param {StreamingDetokenizer} detokenizer
 * @param {StopStrings} stops
 */
function textOf(tokenId, last, detokenizer, stops) {
  let text = last === "stop" ? "" : detokenizer.push(tokenId);
  if (last) text += detokenizer.flush();
  const pushed = stops.push(text);
  if (last && !pushed.stopped) pushed.text += stops.flush();
  return pushed;
}
