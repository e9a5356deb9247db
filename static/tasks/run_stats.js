/** Owns the numbers that a loaded model reports about itself. */

/**
 * Times in seconds, rates in tokens per second; null until known. For encoders the prefill rate is that of encoding.
 * @typedef {object} Stats
 * @property {number | null} time_to_first_token_s from the call to the first token of the last answer
 * @property {number | null} prefill_tokens_per_s of the last prompt, without the tokens that the cache still held
 * @property {number | null} decode_tokens_per_s of the last answer, after its first token
 * @property {number} load_s
 * @property {number} download_bytes bytes that came over the network for this load
 * @property {number} peak_memory_bytes the largest memory seen that the backend knows of (see its memoryBytes)
 * @property {string} backend
 * @property {number} threads in use now: a backend that measures may change it
 * @property {number} prompt_tokens of the last call
 * @property {number} texts of the last call, which these tokens are of
 * @property {number} cached_tokens how many of them the KV cache still held
 * @property {number} generated_tokens of the last answer, so far
 * @property {"stop" | "length" | "aborted" | null} finish_reason why the last answer ended; null before
 */

export class RunStats {
  #clock;
  #memoryBytes;
  #session;
  /** @type {Stats} */
  #stats;
  #startedAt = 0;
  #firstTokenAt = 0;

  /**
   * @param {{backend: string, threads: number, memoryBytes: () => number}} session
   * @param {() => number} clock milliseconds
   */
  constructor(session, clock) {
    this.#clock = clock;
    this.#session = session;
    this.#memoryBytes = session.memoryBytes.bind(session);
    this.#stats = {
      time_to_first_token_s: null,
      prefill_tokens_per_s: null,
      decode_tokens_per_s: null,
      load_s: 0,
      download_bytes: 0,
      peak_memory_bytes: this.#memoryBytes(),
      backend: session.backend,
      threads: session.threads,
      prompt_tokens: 0,
      texts: 0,
      cached_tokens: 0,
      generated_tokens: 0,
      finish_reason: null,
    };
  }

  /** @returns {Stats} a copy, as of now */
  snapshot() {
    return { ...this.#stats, threads: this.#session.threads, peak_memory_bytes: this.#seeMemory() };
  }

  /** @param {{seconds: number, downloadBytes: number}} load */
  loaded({ seconds, downloadBytes }) {
    this.#stats.load_s = seconds;
    this.#stats.download_bytes = downloadBytes;
  }

  /** A call begins: what the last one left is forgotten. */
  begin() {
    this.#startedAt = this.#clock();
    Object.assign(this.#stats, {
      time_to_first_token_s: null,
      prefill_tokens_per_s: null,
      decode_tokens_per_s: null,
      prompt_tokens: 0,
      texts: 0,
      cached_tokens: 0,
      generated_tokens: 0,
      finish_reason: null,
    });
  }

  /**
   * Times the running of a prompt.
   * @template T
   * @param {{tokens: number, cached?: number, texts?: number}} prompt
   * @param {() => Promise<T>} run
   */
  async prefill({ tokens, cached = 0, texts = 1 }, run) {
    this.#stats.prompt_tokens = tokens;
    this.#stats.cached_tokens = cached;
    this.#stats.texts = texts;
    const before = this.#clock();
    const value = await run();
    this.#stats.prefill_tokens_per_s = rate(tokens - cached, this.#clock() - before);
    this.#seeMemory();
    return value;
  }

  /** A token of the answer is known. */
  token() {
    const now = this.#clock();
    this.#stats.generated_tokens += 1;
    if (this.#stats.generated_tokens === 1) {
      this.#firstTokenAt = now;
      this.#stats.time_to_first_token_s = (now - this.#startedAt) / 1000;
    } else {
      this.#stats.decode_tokens_per_s = rate(this.#stats.generated_tokens - 1, now - this.#firstTokenAt);
    }
  }

  /** @param {"stop" | "length" | "aborted"} reason */
  finish(reason) {
    this.#stats.finish_reason = reason;
  }

  #seeMemory() {
    this.#stats.peak_memory_bytes = Math.max(this.#stats.peak_memory_bytes, this.#memoryBytes());
    return this.#stats.peak_memory_bytes;
  }
}

/** @param {number} tokens @param {number} milliseconds */
function rate(tokens, milliseconds) {
  return milliseconds > 0 ? (tokens * 1000) / milliseconds : null;
}
