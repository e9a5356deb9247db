async ({ manifest, dtype, threads, context }) => {
  const fw = await import("/static/featherweight.js");
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const device = await fw.probeDevice({ fresh: true });
  const limit = (await (await fetch(manifest)).json()).model;
  const newTokens = 24;
  const prompt = Math.min(context, limit.context_length) - (limit.kv_cache ? newTokens + 8 : 0);
  const asked = { device, dtype, threads, contextLength: context, promptTokens: prompt };
  const verdict = await fw.fit(manifest, asked);
  const ids = Array.from({ length: prompt }, (_, at) => 10 + ((at * 7919) % 20000));
  let model = await fw.loadModel(manifest, { dtype, threads, contextLength: context, backend: "wasm" });
  const downloaded = model.stats.download_bytes;
  await model.dispose();
  const stored = await fw.fit(manifest, asked);
  model = await fw.loadModel(manifest, { dtype, threads, contextLength: context, backend: "wasm" });
  const load = model.stats.load_s;
  const seconds = async (run) => {
    const start = performance.now();
    await run();
    return (performance.now() - start) / 1000;
  };
  const { expected } = verdict;
  let prefill;
  let decode = null;
  if (limit.kv_cache) {
    const prefills = [];
    const decodes = [];
    for (const budget = performance.now() + 12000; prefills.length < 5 && (prefills.length < 2 || performance.now() < budget); ) {
      await model.reset();
      prefills.push(await seconds(() => model.prefill(ids)));
      for (let at = 0; at < newTokens; at++) decodes.push(await seconds(() => model.decode(100 + at)));
    }
    // The first run is the compiler's.
    prefill = median(prefills.slice(1));
    decode = 1 / median(decodes.slice(newTokens));
  } else {
    const words = "the quick brown fox jumps over the lazy dog and runs away from a big bad wolf in winter ".repeat(40).split(" ");
    let text = words.slice(0, prompt - 2).join(" ");
    while (model.tokenize(text).length > prompt) text = text.slice(0, text.lastIndexOf(" "));
    const tokens = model.tokenize(text).length;
    const runs = [];
    for (let at = 0; at < 12; at++) runs.push(await seconds(() => model.embed(text)));
    prefill = (median(runs.slice(3)) * prompt) / tokens;
  }
  const measured = {
    load_s: load,
    time_to_first_token_s: prefill,
    prefill_tokens_per_s: prompt / prefill,
    decode_tokens_per_s: decode,
    peak_memory_bytes: model.stats.peak_memory_bytes,
  };
  await model.dispose();
  return {
    predicted: { ...expected, load_s: stored.expected.load_s },
    intervals: {
      load_s: stored.load_s,
      time_to_first_token_s: verdict.ttft_s,
      prefill_tokens_per_s: verdict.ttft_s && verdict.ttft_s.map((value) => prompt / value).reverse(),
      decode_tokens_per_s: verdict.decode_tokens_per_s,
      peak_memory_bytes: [expected.peak_memory_bytes * 0.9, expected.peak_memory_bytes * 1.1],
    },
    measured,
    download: { predicted: verdict.download.bytes, measured: downloaded },
    supported: verdict.supported,
    rates: device.rates,
  };
};
