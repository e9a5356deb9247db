"""Owns the browser: a visit is a fresh Chromium on a profile; the peak of its memory is asked of the system."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Error, Page, Playwright

from benchmarks.site import PAGE
from e2e.conftest import FLAGS, chromium_path

VISIT_LIMIT_S = 300


class Visit:
    """An open page with one script of pages/."""

    def __init__(self, page: Page, log: list[str]) -> None:
        self._page = page
        self._log = log

    def call(self, function: str, **ask: Any) -> Any:
        """Call an export of the script.

        Raises:
            RuntimeError: what it threw, with the last lines of the console.
        """
        try:
            return self._page.evaluate(f"(ask) => bench.{function}(ask)", ask)
        except Error as error:
            raise RuntimeError("\n".join([error.message.split("\n")[0], *self._log[-5:]])) from error

    def peak_memory_bytes(self) -> int | None:
        """Largest resident set that any renderer has had so far; None where the kernel does not keep it."""
        peaks = [_peak_resident_bytes(renderer) for renderer in _renderers()]
        return max(filter(None, peaks), default=None)


@contextmanager
def visiting(
    playwright: Playwright, base_url: str, profile: Path, script: str = "measure", limit_s: float = VISIT_LIMIT_S
) -> Iterator[Visit]:
    """A new browser with the stored data of ``profile``, its page running ``script``; closed with the block.

    A page that takes longer than ``limit_s`` hangs: its renderer is ended, and the call that waits for it fails.
    """
    browser = playwright.chromium.launch_persistent_context(
        profile, executable_path=chromium_path(playwright), args=FLAGS, headless=True
    )
    watchdog = threading.Timer(limit_s, _end_renderers)
    watchdog.start()
    try:
        page = browser.pages[0]
        log: list[str] = []
        page.on("console", lambda message: log.append(message.text[:300]))
        page.on("pageerror", lambda error: log.append(str(error)[:300]))
        page.goto(f"{base_url}{PAGE}#{script}")
        page.wait_for_function("globalThis.bench && globalThis.crossOriginIsolated")
        yield Visit(page, log)
    finally:
        watchdog.cancel()
        browser.close()


def _renderers() -> list[psutil.Process]:
    """Of the browsers that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                found.append(process)
    return found


def _end_renderers() -> None:
    for renderer in _renderers():
        with suppress(psutil.Error):
            renderer.kill()


def _peak_resident_bytes(process: psutil.Process) -> int | None:
    """``VmHWM``; None for an ended process and on systems without /proc."""
    status = Path(f"/proc/{process.pid}/status")
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
