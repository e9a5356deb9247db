"""Real servers and a real Chromium for the end-to-end tests."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from waitress.server import create_server

from webapp import create_app

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
SMOLLM2, MINILM = "smollm2-135m-instruct", "minilm-distilbert"
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def models() -> Path:
    """The converted bundled models, made by ``make models``."""
    for name in (SMOLLM2, MINILM):
        assert (MODELS / name / "manifest.json").exists(), f"models/{name} is missing: run `make models` first"
    return MODELS


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as instance:
        yield instance


def chromium_path(playwright: Playwright) -> str:
    """Playwright's own Chromium when it is installed, else the system's."""
    own = Path(playwright.chromium.executable_path)
    if own.exists():
        return str(own)
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "no Chromium found: run scripts/install_browser.sh"
    return found


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile: nothing stored, nothing cached."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(240_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@contextmanager
def serving(models_dir: Path, wrap: Callable[[Any], Any] | None = None, **config: Any) -> Iterator[str]:
    """Serve ``models_dir`` with the real app behind the real server; ``wrap`` may put a WSGI layer around it."""
    app = create_app({"MODELS_DIR": models_dir, **config})
    server = create_server(wrap(app) if wrap else app, host="127.0.0.1", port=0, threads=8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.trigger.pull_trigger(lambda: _close(server))  # in the server's own loop
        thread.join(timeout=10)


def _close(server: Any) -> None:
    """Let go of the browser's connections too: the server's loop runs as long as one is open."""
    for channel in list(server.active_channels.values()):
        channel.handle_close()
    server.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Polls, with a limit that only a hang reaches."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail(f"never came true: {what}")


@pytest.fixture(scope="session")
def base_url(models: Path) -> Iterator[str]:
    """The bundled models behind the server with its default settings."""
    with serving(models) as url:
        yield url
