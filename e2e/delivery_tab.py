"""Owns how the delivery tests drive a browser: a profile on disk, and tabs with the test page and its worker."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from e2e.conftest import FLAGS, chromium_path
from e2e.model_server import ModelServer

ARGS = [*FLAGS, "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"]


@dataclass
class Profile:
    """A browser with a profile on disk: a private one would keep the origin private file system in memory."""

    playwright: Playwright
    directory: Path

    def launch(self) -> BrowserContext:
        kind = self.playwright.chromium
        return kind.launch_persistent_context(self.directory, executable_path=chromium_path(self.playwright), args=ARGS)

    def processes(self) -> tuple[psutil.Process, list[psutil.Process]]:
        """The browser process and its renderers."""
        for process in psutil.Process().children(recursive=True):
            command = process.cmdline()
            if f"--user-data-dir={self.directory}" in command and not any("--type=" in word for word in command):
                below = process.children(recursive=True)
                return process, [child for child in below if "--type=renderer" in child.cmdline()]
        pytest.fail("no browser process found")


class CallFailed(Exception):
    """A command ended with a FeatherweightError."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.message: str = error["message"]
        self.details: dict[str, Any] = error["details"]


@dataclass
class Tab:
    """A tab with the test page and its worker."""

    page: Page

    def call(self, name: str, *args: Any) -> Any:
        answer = self.page.evaluate("(args) => call(...args)", [name, *args])
        if answer.get("error"):
            raise CallFailed(answer["error"])
        return answer.get("value")

    def begin(self, name: str, *args: Any) -> None:
        self.page.evaluate("(args) => { globalThis.begun = call(...args); }", [name, *args])

    def end(self) -> Any:
        answer = self.page.evaluate("begun")
        if answer.get("error"):
            raise CallFailed(answer["error"])
        return answer.get("value")


def open_tab(context: BrowserContext, server: ModelServer, kind: str, host: str = "127.0.0.1") -> Tab:
    page = context.new_page()
    origin = f"http://{host}:{server.port}"
    page.goto(f"{origin}/delivery.html")
    page.wait_for_function("globalThis.call !== undefined")
    tab = Tab(page)
    found = tab.call("start", f"{origin}/model/manifest.json", kind)
    if found != kind:
        raise WrongStore(found)
    return tab


class WrongStore(Exception):
    """Another store than the wanted one was opened."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind
