/**
 * Owns what a page does for the weigh-in: a verdict before anything is downloaded, then the run that it speaks of.
 * An expression that leaves `weigh` and `run` in the page.
 */
() => {
  const NEW_TOKENS = 24;
  /** Beside a prompt that fills the context there is room for the answer. */
  const ROOM = NEW_TOKENS + 8;
  /** Repeats end after this, the first excepted. */
  const LIMIT_MS = 5000;
  const MOST_REPEATS = 5;
  const WARM_MS = 1000;
  const WORDS = "the quick brown fox jumps over the lazy dog and runs away from a big bad wolf in winter ".repeat(120).split(" ");

  let fw;
  let device;
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  const seconds = async (work) => {
    const start = performance.now();
    await work();
    return (performance.now() - start) / 1000;
  };
  /** @param {(more: boolean) => Promise<void>} work until the time is over, at least once */
  const repeat = async (limit_ms, most, work) => {
    const end = performance.now() + limit_ms;
    for (let done = 0; done === 0 || (done < most && performance.now() < end); done++) await work();
  };
  const idsOf = (count) => Array.from({ length: count }, (_, at) => 10 + ((at * 7919) % 7900));

  const describe = async (manifest) => {
    const { model } = await (await fetch(manifest)).json();
    return { decodes: Boolean(model.kv_cache), limit: model.context_length };
  };

  /** @returns the facts and the verdicts, one for each context */
  const weigh = async ({ manifest, dtype, threads, contexts }) => {
    fw = await import("/static/featherweight.js");
    device = await fw.probeDevice({ fresh: true });
    const { decodes, limit } = await describe(manifest);
    const verdicts = [];
    for (const context of contexts) {
      const promptTokens = Math.min(context, limit) - (decodes ? ROOM : 0);
      verdicts.push(await fw.fit(manifest, { device, dtype, threads, contextLength: context, promptTokens }));
    }
    return { rates: device.rates, verdicts };
  };

  /** Loads twice, over the network and from the store, and runs; where the verdict was no, it is not believed. */
  const run = async ({ manifest, dtype, threads, context }) => {
    const { decodes, limit } = await describe(manifest);
    const load = () => fw.loadModel(manifest, { dtype, threads, contextLength: context, backend: "wasm" });
    const prompt = Math.min(context, limit) - (decodes ? ROOM : 0);
    const asked = { device, dtype, threads, contextLength: context, promptTokens: prompt };
    let model = await load();
    const first = { bytes: model.stats.download_bytes, load_s: model.stats.load_s };
    let stored = null;
    if (first.bytes > 0) {
      await model.dispose();
      stored = await fw.fit(manifest, asked);
      model = await load();
    } else {
      stored = await fw.fit(manifest, asked);
    }
    const measured = { load_s: model.stats.load_s, ...(decodes ? await generate(model, prompt) : await encode(model, prompt)) };
    measured.peak_memory_bytes = model.stats.peak_memory_bytes;
    const { threads: used } = model.stats;
    await model.dispose();
    return { first, stored_load: { expected: stored.expected?.load_s ?? null, interval: stored.load_s }, measured, threads: used };
  };

  /** A text of about so many tokens, and no more. */
  const textOf = (model, most) => {
    let words = most;
    for (;;) {
      const text = WORDS.slice(0, words).join(" ");
      const { length } = model.tokenize(text);
      if (length <= most) return text;
      words = Math.min(words - 1, Math.floor((words * most) / length));
    }
  };

  /** What a visitor sees of answers: the seconds to the first token, and the pace of the others. */
  const generate = async (model, prompt) => {
    const text = textOf(model, prompt);
    const tokens = model.tokenize(text).length;
    const answer = async (to, most) => {
      await model.reset();
      let written = 0;
      for await (const _ of model.generate(to, { maxNewTokens: most, temperature: 0 })) written += 1;
      return written;
    };
    await repeat(WARM_MS, Infinity, () => answer(textOf(model, Math.min(prompt, 96)), 5));
    const firsts = [];
    const paces = [];
    await repeat(LIMIT_MS, MOST_REPEATS, async () => {
      const written = await answer(text, NEW_TOKENS);
      if (written < NEW_TOKENS / 2) throw new Error(`the answer ended after ${written} tokens`);
      firsts.push(model.stats.time_to_first_token_s);
      paces.push(model.stats.decode_tokens_per_s);
    });
    const first = (median(firsts) * prompt) / tokens;
    return { time_to_first_token_s: first, prefill_tokens_per_s: prompt / first, decode_tokens_per_s: median(paces) };
  };

  const encode = async (model, prompt) => {
    const text = textOf(model, prompt);
    const tokens = model.tokenize(text).length;
    await repeat(WARM_MS / 2, Infinity, () => model.embed(text));
    const runs = [];
    await repeat(LIMIT_MS / 5, 4 * MOST_REPEATS, async () => void runs.push(await seconds(() => model.embed(text))));
    const once = (median(runs) * prompt) / tokens;
    return { time_to_first_token_s: once, prefill_tokens_per_s: prompt / once, decode_tokens_per_s: null };
  };

  /** Everything that the verdict says is too much: loads, and fills the context. */
  const force = async ({ manifest, dtype, threads, context }) => {
    const model = await fw.loadModel(manifest, { dtype, threads, contextLength: context, backend: "wasm" });
    const { decodes, limit } = await describe(manifest);
    if (decodes) await model.prefill(idsOf(Math.min(context, limit)));
    else await model.embed(WORDS.join(" "));
    await model.dispose();
  };

  globalThis.weighIn = { weigh, run, force };
};
