"""What a load costs in memory: the weights once, packed, and little beside them."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Playwright

from e2e.conftest import FLAGS, SMOLLM2, chromium_path, serving

MEBIBYTE = 1 << 20
SHARE, RESERVE = 1.15, 64 * MEBIBYTE
KV_PAGE = 256 * 23040
"""Tokens of a page, bytes of a token in SmolLM2's cache."""
PATIENCE_S = 240
# Playwright's own watching of the network keeps the bodies of answers in the renderer, so this page runs without it.
PAGE = b"""<!doctype html><title>Memory</title><script type="module">
import { listModels, loadModel } from "/static/featherweight.js";
const report = (fact) => fetch("/report", { method: "POST", body: JSON.stringify(fact) });
try {
  const { manifest_url: url, variants } = (await listModels()).find(({ id }) => id === "smollm2-135m-instruct");
  await new Promise((resolve) => setTimeout(resolve, 2000)); // the page itself grows for a while
  await report({ phase: "before" });
  const model = await loadModel(url, { dtype: "q4", backend: "wasm" });
  await model.prefill([1, 2, 3]);
  const { peak_memory_bytes: engineBytes, download_bytes: downloadBytes } = model.stats;
  const { weight_bytes: weightBytes } = variants.find(({ dtype }) => dtype === "q4");
  await report({ phase: "loaded", engineBytes, downloadBytes, weightBytes });
} catch (error) {
  await report({ phase: "failed", message: String(error) });
}
</script>"""
HEADERS = [
    ("Content-Type", "text/html"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
]


def own_bytes(process: psutil.Process) -> int:
    """Memory of a process that no file stands behind: heaps, WebAssembly memory, shared buffers."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return sum(int(kib) << 10 for kib in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE))


def renderer_bytes(browser: psutil.Process) -> int:
    """The same of all renderers of a browser together."""
    total = 0
    for process in browser.children(recursive=True):
        try:
            total += own_bytes(process) if "--type=renderer" in process.cmdline() else 0
        except (psutil.Error, OSError):
            continue  # it has just ended
    return total


class Watch:
    """A WSGI layer that serves the page, takes its reports, and keeps the renderers' peak between two of them."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.before = self.peak = 0
        self.browser: psutil.Process | None = None
        self.last: dict[str, Any] = {}
        self.paths: set[str] = set()

    def visit(self, command: list[str]) -> dict[str, Any]:
        """What the page reports in a browser of its own."""
        self.done.clear()
        self.last = {}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            self.browser = psutil.Process(process.pid)
            deadline = time.monotonic() + PATIENCE_S
            while not self.done.wait(0.01) and time.monotonic() < deadline:
                self.peak = max(self.peak, renderer_bytes(self.browser))
            process.terminate()
        assert self.last.get("phase") == "loaded", self.last or "no report came"
        return {**self.last, "usedBytes": self.peak - self.before}

    def take(self, fact: dict[str, Any]) -> None:
        assert self.browser
        if fact["phase"] == "before":
            self.before = self.peak = renderer_bytes(self.browser)
            return
        self.last = fact
        self.done.set()

    def __call__(self, app: Any) -> Callable[..., Iterable[bytes]]:
        def layer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            self.paths.add(environ["PATH_INFO"])
            if environ["PATH_INFO"] == "/memory":
                start_response("200 OK", HEADERS)
                return [PAGE]
            if environ["PATH_INFO"] == "/report":
                self.take(json.loads(environ["wsgi.input"].read()))
                start_response("204 No Content", [])
                return []
            return app(environ, start_response)  # type: ignore[no-any-return]

        return layer


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_load_holds_the_weights_once(playwright: Playwright, models: Path, tmp_path: Path) -> None:
    """From the server and then from the store: 1.15 x the weights, a page of KV cache and 64 MiB at most."""
    watch = Watch()
    assert (models / SMOLLM2).exists()
    with serving(models, wrap=watch) as base_url:
        command = [chromium_path(playwright), *FLAGS, "--headless", f"--user-data-dir={tmp_path}", f"{base_url}/memory"]
        loads = [watch.visit(command) for _ in range(2)]
    assert loads[0]["downloadBytes"] > 0
    assert loads[1]["downloadBytes"] == 0
    for load in loads:
        assert load["usedBytes"] >= 0.9 * load["engineBytes"], "the weights were not seen"
        assert load["usedBytes"] <= SHARE * load["weightBytes"] + KV_PAGE + RESERVE
        # Beside the packed weights: positions, activations of one run, one page of the cache.
        assert load["engineBytes"] <= load["weightBytes"] + KV_PAGE + 8 * MEBIBYTE
    other_runtimes = {path for path in watch.paths if "onnxruntime" in path or "transformers" in path}
    assert not other_runtimes, "our engine runs without them"
