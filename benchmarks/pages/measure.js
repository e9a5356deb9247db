/** Owns the measuring inside the page: the same steps for every runtime, one runtime per page. */

/**
 * @typedef {object} Prompt the same tokens twice: some runtimes take ids, some text
 * @property {number[]} ids
 * @property {string} text
 *
 * @typedef {object} Generation
 * @property {number} promptTokens as the runtime counted them
 * @property {number} prefill_ms from the call to the first token
 * @property {number} decode_ms from the first token to the last
 * @property {number} tokens after the first
 *
 * @typedef {object} Subject what the file of a runtime gives
 * @property {(prompt: Prompt, newTokens: number, limit_ms: number) => Promise<Generation>} [generate] `newTokens`
 *   after the first, fewer when they take longer than the limit
 * @property {(batch: {ids: number[][], texts: string[]}) => Promise<unknown>} [encode]
 */

/** @type {Subject} */
let subject;

/** Loads a runtime and a model, up to its first result. @returns {Promise<{first_ms: number}>} from the library on */
export async function load({ runtime, first, ...options }) {
  const start = performance.now();
  const { load } = await import(`./${runtime}.js`);
  subject = await load(options);
  if (first.texts) await subject.encode(first);
  else await subject.generate(first, 0, Infinity);
  return { first_ms: performance.now() - start };
}

/** Browsers compile hot code again, better, after seconds: figures before that are not theirs. */
export async function warmUp({ milliseconds, newTokens, ...input }) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    if (input.texts) await subject.encode(input);
    else await subject.generate(input, newTokens, end - performance.now());
  }
}

/** @returns {Promise<{prefill_tokens_per_s: number, decode_tokens_per_s: number | null}>} */
export async function generate({ newTokens, limit_ms, ...prompt }) {
  const found = await subject.generate(prompt, newTokens, limit_ms);
  if (found.promptTokens !== prompt.ids.length) {
    throw new Error(`The runtime saw ${found.promptTokens} tokens of a prompt of ${prompt.ids.length}.`);
  }
  return {
    prefill_tokens_per_s: (1000 * found.promptTokens) / found.prefill_ms,
    decode_tokens_per_s: found.tokens > 0 ? (1000 * found.tokens) / found.decode_ms : null,
  };
}

/** @returns {Promise<number>} milliseconds of one batch, the median of some */
export async function encode({ repeats, limit_ms, ...batch }) {
  const times = [];
  const end = performance.now() + limit_ms;
  while (times.length === 0 || (times.length < repeats && performance.now() < end)) {
    const start = performance.now();
    await subject.encode(batch);
    times.push(performance.now() - start);
  }
  times.sort((left, right) => left - right);
  return times[times.length >> 1];
}

/** Milliseconds per token at growing lengths of context. @returns {Promise<Record<string, number>>} */
export async function decodeAtContexts({ ids, lengths, newTokens }) {
  return subject.decodeAt(ids, lengths, newTokens);
}
