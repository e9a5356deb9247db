"""Measures models in a real Chromium through the public module: load, time to first token, prefill, decode, memory.

    python benchmarks/browser.py [--rounds 3] [--json]

Configurations are interleaved, each in a fresh profile, and medians are printed: on a shared machine compare ratios
within one run.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Playwright, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))

from e2e.conftest import FLAGS, MINILM, MODELS, SMOLLM2, chromium_path, serving

PROMPT_TOKENS, NEW_TOKENS, EMBED_TEXTS, EMBED_REPEATS = 128, 32, 8, 5
WORDS = "the quick brown fox jumps over the lazy dog while seven wise owls watch from an old oak tree at dusk "
DECODER = """async ({url, dtype, backend, promptTokens, newTokens, words}) => {
  const { loadModel } = await import("/static/featherweight.js");
  const model = await loadModel(url, { dtype, backend });
  const ids = model.tokenize(words.repeat(20)).slice(0, promptTokens);
  const run = async (count) => {
    await model.reset();
    const start = performance.now();
    let logits = await model.prefill(ids);
    const first = performance.now();
    for (let step = 0; step < count; step++) {
      let best = 0;
      for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
      logits = await model.decode(best);
    }
    const end = performance.now();
    return { prefill: promptTokens / (first - start) * 1000, decode: count / (end - first) * 1000 };
  };
  await run(4);
  const { prefill, decode } = await run(newTokens);
  const { load_s, peak_memory_bytes, threads } = model.stats;
  await model.dispose();
  return { load_s, prefill_tokens_per_s: prefill, decode_tokens_per_s: decode, peak_memory_bytes, threads };
}"""
ENCODER = """async ({url, dtype, backend, texts, repeats, words}) => {
  const { loadModel } = await import("/static/featherweight.js");
  const model = await loadModel(url, { dtype, backend });
  const batch = Array.from({ length: texts }, (_, index) => `${index} ${words.repeat(5)}`);
  const times = [];
  for (let round = 0; round <= repeats; round++) {
    const start = performance.now();
    await model.embed(batch);
    if (round) times.push(performance.now() - start);
  }
  times.sort((left, right) => left - right);
  const { load_s, peak_memory_bytes, threads } = model.stats;
  await model.dispose();
  return { load_s, embed_texts_per_s: texts / times[times.length >> 1] * 1000, peak_memory_bytes, threads };
}"""
CONFIGURATIONS = [(SMOLLM2, "q4"), (SMOLLM2, "q8"), (MINILM, "q8"), (MINILM, "fp32")]
BACKENDS = ["wasm", "ort-wasm"]


def measure(playwright: Playwright, base_url: str, model: str, dtype: str, backend: str) -> dict[str, float]:
    """One configuration in a fresh browser."""
    browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
    try:
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{base_url}/healthz")
        rows = page.request.get(f"{base_url}/api/models").json()
        url = next(row["manifest_url"] for row in rows if row["id"] == model)
        ask: dict[str, Any] = {"url": base_url + url, "dtype": dtype, "backend": backend, "words": WORDS}
        if model == SMOLLM2:
            ask |= {"promptTokens": PROMPT_TOKENS, "newTokens": NEW_TOKENS}
            return dict(page.evaluate(DECODER, ask))
        return dict(page.evaluate(ENCODER, ask | {"texts": EMBED_TEXTS, "repeats": EMBED_REPEATS}))
    finally:
        browser.close()


def main() -> None:
    """Run all configurations and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians of them are printed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    samples: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    version = ""
    with sync_playwright() as playwright, serving(MODELS) as base_url:
        browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
        version = browser.version
        browser.close()
        for round_number in range(options.rounds):
            for model, dtype in CONFIGURATIONS:
                for backend in BACKENDS:
                    print(f"round {round_number + 1}: {model} {dtype} {backend}", file=sys.stderr)
                    samples[model, dtype, backend].append(measure(playwright, base_url, model, dtype, backend))
    results = [
        {
            "model": model,
            "dtype": dtype,
            "backend": backend,
            **{key: statistics.median(run[key] for run in runs) for key in runs[0]},
        }
        for (model, dtype, backend), runs in samples.items()
    ]
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "system": platform.system()}
    report = {"date": datetime.now(UTC).date().isoformat(), "chromium": version, "machine": machine, "results": results}
    if options.json:
        print(json.dumps(report, indent=1))
        return
    for row in results:
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float | int))
        print(f"{row['model']} {row['dtype']} {row['backend']}: {numbers}")


if __name__ == "__main__":
    main()
