"""What goes wrong between server and store: each fault ends in a repaired load or in one clear error."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from benchmarks.weigh_in.lesser_device import visiting
from benchmarks.weigh_in.limits import NONE
from e2e.conftest import MINILM, serving
from e2e.test_first_visit import download_bytes, manifest_url

MEBIBYTE = 1 << 20
SHARD = "model_quantized.onnx_data"
# Loads the encoder and embeds one sentence; gives the error's code instead when there is one.
EMBED = """async ({url, options = {}, abortAfterBytes}) => {
  const { loadModel } = await import("/static/featherweight.js");
  const controller = new AbortController();
  const onProgress = (progress) => {
    if (abortAfterBytes && progress.loadedBytes >= abortAfterBytes) controller.abort();
  };
  try {
    const how = { dtype: "q8", backend: "ort-wasm", onProgress, signal: controller.signal, ...options };
    const model = await loadModel(url, how);
    const [vector] = await model.embed(["A man is eating food."]);
    const stats = { ...model.stats };
    await model.dispose();
    return { vector: Array.from(vector), stats };
  } catch (error) {
    return { name: error.name, code: error.code, message: error.message };
  }
}"""
Layer = Callable[[dict[str, Any], Iterable[bytes]], Iterable[bytes]]


class Fault:
    """A WSGI layer that spoils the bodies of a shard's responses while ``active`` and counts what it does."""

    def __init__(self, spoil: Callable[[bytes], bytes], times: int, status: str | None = None) -> None:
        self.spoil, self.left, self.status = spoil, times, status
        self.hits = 0
        self.served_bytes = 0

    def __call__(self, app: Any) -> Any:
        def layer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if not environ["PATH_INFO"].endswith(SHARD) or environ["REQUEST_METHOD"] != "GET":
                yield from app(environ, start_response)
                return
            environ.pop("wsgi.file_wrapper", None)
            captured: list[Any] = []
            body = b"".join(app(environ, lambda *args: captured.extend(args)))
            if self.left > 0:
                self.left -= 1
                self.hits += 1
                body = self.spoil(body)
                captured[0] = self.status or captured[0]
                if self.status:
                    captured[1] = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
            self.served_bytes += len(body)
            start_response(captured[0], captured[1])
            yield body

        return layer


def flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def load(page: Page, base_url: str, **ask: Any) -> Any:
    page.goto(base_url)
    return page.evaluate(EMBED, {"url": manifest_url(page, base_url, MINILM), **ask})


def test_a_flipped_byte_is_fetched_again_once(page: Page, models: Path) -> None:
    fault = Fault(flip, times=1)
    with serving(models, wrap=fault) as url:
        result = load(page, url)
    assert fault.hits == 1
    assert len(result["vector"]) == 384
    extra = result["stats"]["download_bytes"] - download_bytes(models, MINILM, "q8")
    assert 0 < extra <= MEBIBYTE


def test_a_byte_that_stays_flipped_is_refused(page: Page, models: Path) -> None:
    fault = Fault(flip, times=10_000)
    with serving(models, wrap=fault) as url:
        result = load(page, url)
    assert result["name"] == "FeatherweightError"
    assert result["code"] == "integrity"
    assert SHARD in result["message"]


@pytest.mark.parametrize(("status", "codes"), [("404 Not Found", {"not_found"}), ("200 OK", {"not_found"})])
def test_html_in_place_of_a_shard_is_refused(page: Page, models: Path, status: str, codes: set[str]) -> None:
    fault = Fault(lambda body: b"<!doctype html><title>Sorry</title>", times=10_000, status=status)
    with serving(models, wrap=fault) as url:
        result = load(page, url)
    assert result["code"] in codes
    assert SHARD in result["message"]


def test_a_cut_connection_resumes_and_loses_at_most_a_chunk(page: Page, models: Path) -> None:
    fault = Fault(lambda body: body[: len(body) * 2 // 3], times=2)
    with serving(models, wrap=fault) as url:
        result = load(page, url)
    assert fault.hits == 2
    assert len(result["vector"]) == 384
    extra = result["stats"]["download_bytes"] - download_bytes(models, MINILM, "q8")
    assert extra <= 2 * MEBIBYTE


def test_an_aborted_load_resumes_where_it_was(page: Page, models: Path) -> None:
    fault = Fault(lambda body: body, times=0)
    total = download_bytes(models, MINILM, "q8")
    with serving(models, wrap=fault) as url:
        aborted = load(page, url, abortAfterBytes=total // 2)
        assert aborted["code"] == "aborted"
        resumed = load(page, url)
    assert len(resumed["vector"]) == 384
    assert resumed["stats"]["download_bytes"] <= total // 2 + 4 * MEBIBYTE


def test_without_cross_origin_isolation_one_thread_gives_the_same(
    page: Page, context: BrowserContext, models: Path, base_url: str
) -> None:
    isolated = load(page, base_url)
    with serving(models, ISOLATION=False) as url:
        other = context.new_page()
        alone = load(other, url)
        assert other.evaluate("crossOriginIsolated") is False
    assert alone["stats"]["threads"] == 1
    similarity = sum(a * b for a, b in zip(alone["vector"], isolated["vector"], strict=True))
    assert similarity == pytest.approx(1.0, abs=1e-5)


def test_a_full_quota_is_one_clear_error(playwright: Playwright, models: Path) -> None:
    with visiting(playwright, replace(NONE, quota_bytes=5 * MEBIBYTE), models) as device:
        url = device.page.evaluate("location.origin")
        device.page.goto(url)  # the page keeps copies of its files, which take some of the room
        result = load(device.page, url)
    assert result["code"] == "quota", result
    assert "storage" in result["message"]


def test_a_private_window_that_is_full_runs_the_model_all_the_same(browser: Browser, models: Path) -> None:
    """Chromium lets every trial of its space pass: that it is full is found while the model arrives."""
    # A service worker's copies of the page would take a part of the room, at a time of its own.
    with contextlib.closing(browser.new_context(service_workers="block")) as context, serving(models) as url:
        page = context.new_page()
        page.goto(url)
        protocol = context.new_cdp_session(page)
        protocol.send("Storage.overrideQuotaForOrigin", {"origin": url, "quotaSize": 18 * MEBIBYTE})
        first, second = load(page, url), load(page, url)
    assert len(first["vector"]) == 384, first
    assert second.get("vector") == first["vector"], second
    fetched, again = (visit["stats"]["download_bytes"] for visit in (first, second))
    assert fetched - 18 * MEBIBYTE <= again < fetched / 2, "what could not be kept, and nothing else, is fetched again"
