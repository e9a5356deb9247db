"""A new version of the page: it replaces the old one as a whole, also for use without a network."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from e2e.conftest import serving, wait_until
from webapp import DEFAULTS

KEPT = """async () => {
  const cache = await caches.open((await caches.keys()).find((name) => name.startsWith("featherweight-page-")));
  return (await cache.keys()).map(({ url }) => new URL(url).pathname);
}"""
VERSION = "document.querySelector('script[type=module]').getAttribute('src').split('/')[2]"
WHOLE = "(version) => import(`/static/${version}/featherweight.js`).then(({ loadModel }) => typeof loadModel)"


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    """A copy that a test may change; what no page needs is left out."""
    copy = tmp_path / "static"
    shutil.copytree(DEFAULTS["STATIC_DIR"], copy, ignore=shutil.ignore_patterns("onnxruntime-web"))
    return copy


def kept(page: Page, version: str) -> tuple[set[str], set[str]]:
    """Paths that the service worker keeps: of this version, and of others."""
    paths = [path.split("/") for path in page.evaluate(KEPT) if path.startswith("/static/")]
    versioned = [path for path in paths if len(path[2]) == len(version) and "." not in path[2]]
    own = {"/".join(path[3:]) for path in versioned if path[2] == version}
    return own, {"/".join(path[2:]) for path in versioned if path[2] != version}


def test_new_version_replaces_the_old_one_as_a_whole(context: BrowserContext, models: Path, static_dir: Path) -> None:
    page = context.new_page()
    asked: list[Any] = []
    with serving(models, STATIC_DIR=static_dir) as url:
        page.goto(url)
        page.wait_for_function("() => navigator.serviceWorker.controller !== null")
        wait_until(lambda: "/" in page.evaluate(KEPT), "the page is kept")
        old = page.evaluate(VERSION)
        page.evaluate("(version) => fetch(`/static/${version}/wasm/kernels_simd.wasm`).then((got) => got.blob())", old)
        wait_until(lambda: "wasm/kernels_simd.wasm" in kept(page, old)[0], "what was used is kept")
        before, others = kept(page, old)
        assert {"app/app.js", "featherweight.js", "worker/model_worker.js", "wasm/kernels_simd.wasm"} <= before
        assert not others

        context.on("request", lambda request: asked.append(request.url) if request.service_worker else None)
        page.reload()
        page.wait_for_timeout(1000)
        again = {address.split(f"/{old}/")[1] for address in asked if f"/{old}/" in address}
        assert not again & before, "what never changes is not asked for again"

        html = static_dir / "index.html"
        html.write_text(html.read_text().replace("<title>", "<title>New "))
        page.reload()
        assert page.title().startswith("New ")
        new = page.evaluate(VERSION)
        assert new != old
        wait_until(lambda: not kept(page, new)[1], "the old version is forgotten")
        assert before <= kept(page, new)[0]

    page.reload()  # the server is gone now
    assert page.title().startswith("New ")
    assert page.evaluate(WHOLE, new) == "function"
