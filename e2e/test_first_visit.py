"""What a visitor pays and gets: exact download bytes, nothing twice, offline use, and the tokens of the Python run."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page
from tokenizers import Tokenizer

from e2e.conftest import SMOLLM2, serving
from tests.reference.decoder_session import DecoderSession

PROMPT = "The capital of France is"
TOKENS = 6
LEAST_MARGIN = 0.05
GENERATE = """async ({url, dtype, prompt, count}) => {
  const { loadModel } = await import("/static/featherweight.js");
  const model = await loadModel(url, { dtype, backend: "ort-wasm" });
  const ids = [], pieces = [];
  for await (const piece of model.generate(prompt, { maxNewTokens: count, temperature: 0 })) {
    ids.push(piece.tokenId); pieces.push(piece.text);
  }
  return { ids, text: pieces.join(""), stats: { ...model.stats } };
}"""


class NetworkMeter:
    """Counts what the browser receives for model files, by the browser's own protocol, workers included."""

    def __init__(self, context: BrowserContext) -> None:
        self.finished: list[Any] = []
        self.hosts: set[str] = set()
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        context.on("requestfinished", lambda request: self.finished.append(request))

    def take(self, page: Page) -> int:
        """Bytes since the last call, once no event has come in for a while: requests are reported after they ended."""
        count = -1
        while count != len(self.finished):
            count = len(self.finished)
            page.wait_for_timeout(3000)
        bodies, self.finished = self.finished, []
        wanted = (item for item in bodies if "/resolve/" in item.url and not item.url.endswith("manifest.json"))
        return sum(item.sizes()["responseBodySize"] for item in wanted)


def manifest_url(page: Page, base_url: str, model: str) -> str:
    rows = page.request.get(f"{base_url}/api/models").json()
    return str(next(row["manifest_url"] for row in rows if row["id"] == model))


def download_bytes(models: Path, model: str, dtype: str) -> int:
    variants = json.loads((models / model / "manifest.json").read_text())["variants"]
    return int(next(item["download_bytes"] for item in variants if item["dtype"] == dtype))


def test_first_visit_downloads_the_manifests_bytes_and_later_ones_nothing(
    context: BrowserContext, page: Page, models: Path
) -> None:
    meter = NetworkMeter(context)
    with serving(models) as base_url:
        page.goto(base_url)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        ask = {"url": manifest_url(page, base_url, SMOLLM2), "dtype": "q4", "prompt": PROMPT, "count": TOKENS}
        first = page.evaluate(GENERATE, ask)
        expected = download_bytes(models, SMOLLM2, "q4")
        assert first["stats"]["download_bytes"] == expected
        assert meter.take(page) == pytest.approx(expected, rel=0.01)
        assert meter.hosts == {urlsplit(base_url).netloc}

        page.reload()
        second = page.evaluate(GENERATE, ask)
        assert second["stats"]["download_bytes"] == 0
        assert meter.take(page) == 0

    page.reload()  # the server is gone now
    offline = page.evaluate(GENERATE, ask)

    tokenizer = Tokenizer.from_file(str(models / SMOLLM2 / "tokenizer.json"))
    session = DecoderSession(models / SMOLLM2 / "onnx" / "model_q4.onnx")
    tokens, margins = session.greedy(tokenizer.encode(PROMPT, add_special_tokens=False).ids, TOKENS)
    assert min(margins) > LEAST_MARGIN, "choose a prompt whose greedy path is not a coin toss"
    assert first["ids"] == second["ids"] == offline["ids"] == tokens
    assert first["text"] == tokenizer.decode(tokens)
