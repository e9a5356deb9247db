"""Compares the engine with onnxruntime-web on the same files in one Chromium, in turns, and prints medians."""

import argparse
import functools
import http.server
import json
import platform
import shutil
import statistics
import threading
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
# Model, and per contender its backend and dtype.
RUNS = {
    "smollm2-135m-instruct": (("wasm", "q4"), ("wasm", "q8"), ("ort-wasm", "q4"), ("ort-wasm", "q8")),
    "minilm-distilbert": (("wasm", "q8"), ("wasm", "fp32"), ("ort-wasm", "q8"), ("ort-wasm", "fp32")),
}
FLAGS = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
# A page that starts the worker and waits for its answer.
START = """(job) => new Promise((resolve, reject) => {
  const worker = new Worker("/benchmarks/engine_peers_worker.js", {type: "module"});
  worker.onerror = (event) => reject(new Error(event.message ?? "the worker did not start"));
  worker.onmessage = ({data}) => resolve(data);
  worker.postMessage(job);
})"""


class IsolatedHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the repository with the headers that make a page cross-origin isolated."""

    def end_headers(self) -> None:
        """Add the headers to every answer."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def measure(runs: dict[str, tuple[tuple[str, str], ...]], threads: int, rounds: int) -> dict[str, Any]:
    """Run every contender and return all samples."""
    handler = functools.partial(IsolatedHandler, directory=str(ROOT))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    result: dict[str, Any] = {"machine": platform.machine(), "threads": threads, "models": {}}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        result["browser"] = browser.version
        for model, contenders in runs.items():
            page = browser.new_page()
            page.goto(f"{address}/benchmarks/engine_peers.html")
            manifest = f"{address}/models/{model}/manifest.json"
            job = {"manifestUrl": manifest, "contenders": contenders, "threads": threads, "rounds": rounds}
            answer = page.evaluate(START, job)
            page.close()
            if "error" in answer:
                raise RuntimeError(f"{model}: {answer['error']}")
            result["models"][model] = answer
        browser.close()
    server.shutdown()
    return result


def main() -> None:
    """Measure, print medians, and with ``--json`` keep all samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--model", choices=sorted(RUNS), action="append", help="all of them by default")
    parser.add_argument("--skip", action="append", default=[], metavar="BACKEND:DTYPE", help="leave a contender out")
    arguments = parser.parse_args()
    runs = {
        model: tuple(pair for pair in RUNS[model] if ":".join(pair) not in arguments.skip)
        for model in arguments.model or RUNS
    }
    result = measure(runs, arguments.threads, arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    for model, answer in result["models"].items():
        print(f"{model} (isolated: {answer['isolated']}, {arguments.threads} threads)")
        for row in answer["rows"]:
            medians = {key: statistics.median(sample[key] for sample in row["samples"]) for key in row["samples"][0]}
            figures = ", ".join(f"{key} {value:.1f}" for key, value in medians.items())
            print(f"  {row['label']:14} {figures}, load {row['load_ms']:.0f} ms, {row['memory_bytes'] / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
