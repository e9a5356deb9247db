"""Owns the browser on a lesser device: a server and a fresh Chromium, from which is taken what the limits say."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import BrowserContext, CDPSession, Page, Playwright

from benchmarks.load import busy_cores
from benchmarks.model_files import MODELS
from benchmarks.weigh_in.limits import Limits
from e2e.conftest import FLAGS, chromium_path, serving
from webapp.static_version import split_version

CPU_CONTROLLER = Path("/sys/fs/cgroup/cpu")
"""Where version 1 of control groups has it; version 2 has all controllers one folder above."""
PERIOD_US = 100_000
VALIDATES = ("device/probe.js", "engine/kernels.js")
"""The modules that ask the browser for relaxed SIMD."""
REFUSE_RELAXED_SIMD = b"""{
  const validate = WebAssembly.validate;
  WebAssembly.validate = (bytes) => {
    const code = new Uint8Array(bytes.buffer ?? bytes);
    const relaxed = (byte, at) => byte === 0xfd && (code[at + 1] & 0xe0) === 0x80 && code[at + 2] === 2;
    return !code.some(relaxed) && validate(bytes);
  };
}
"""
"""No flag of Chromium turns relaxed SIMD off any more. Its instructions are 0xfd and 0x100 to 0x113 (LEB128)."""


GIB = 2**30
TAB_SHARE = 0.5
"""Of the device's memory, as static/device/fit.js counts."""
UNTOUCHED_BYTES = 128 << 20
"""RLIMIT_DATA counts what is reserved and never touched as well: the stacks of threads, JavaScript's heaps."""


class NotAllowedError(Exception):
    """This system does not let us limit it so."""


@dataclass(frozen=True)
class LesserDevice:
    """An open page, and the browser that it is in."""

    page: Page
    limits: Limits
    root: psutil.Process

    def limit_memory(self) -> None:
        """From now on renderers get no more than the limits say. A page that was just measured had more.

        Raises:
            NotAllowedError: the system has no such limit.
        """
        if self.limits.memory_gib is None:
            return
        if not hasattr(psutil, "RLIMIT_DATA"):
            raise NotAllowedError("no limit of a process's memory on this system")
        room = round(self.limits.memory_gib * GIB * TAB_SHARE) + UNTOUCHED_BYTES
        for renderer in self.root.children(recursive=True):
            if "--type=renderer" in renderer.cmdline():
                most = _data_bytes(renderer) + room
                renderer.rlimit(psutil.RLIMIT_DATA, (most, most))


@contextmanager
def visiting(playwright: Playwright, limits: Limits, models: Path = MODELS) -> Iterator[LesserDevice]:
    """An empty page of the origin that serves ``models``, in a browser of its own.

    Raises:
        NotAllowedError: the system has no such limit, or keeps it from us.
    """
    with ExitStack() as stack:
        wrap = None if limits.relaxed_simd else without_relaxed_simd
        url = stack.enter_context(serving(models, wrap=wrap, ISOLATION=limits.isolated))
        context, root = stack.enter_context(_browser(playwright, limits))
        page = context.pages[0] if context.pages else context.new_page()
        page.set_default_timeout(900_000)
        page.goto(f"{url}/healthz")
        constrain(page, limits)
        if limits.cores is not None:
            stack.enter_context(share_of_cores(limits.cores, root))
        if limits.busy:
            stack.enter_context(busy_cores())
        yield LesserDevice(page, limits, root)


def constrain(page: Page, limits: Limits) -> None:
    """What the browser's protocol can take from a page and its workers."""
    protocol = page.context.new_cdp_session(page)
    if limits.cpu_rate is not None:
        protocol.send("Emulation.setCPUThrottlingRate", {"rate": limits.cpu_rate})
    if limits.bytes_per_s is not None:
        _slow_network(protocol, limits)
    if limits.quota_bytes is not None:
        origin = page.evaluate("location.origin")
        protocol.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": limits.quota_bytes})
    if limits.memory_gib is not None:
        page.evaluate("(gib) => Object.defineProperty(navigator, 'deviceMemory', { value: gib })", limits.memory_gib)


def _slow_network(protocol: CDPSession, limits: Limits) -> None:
    """Of the page and of its workers: Chromium throttles both by the page's session."""
    protocol.send("Network.enable")
    rates = {"downloadThroughput": limits.bytes_per_s, "uploadThroughput": limits.bytes_per_s}
    protocol.send("Network.emulateNetworkConditions", {"offline": False, "latency": limits.latency_ms, **rates})


@contextmanager
def _browser(playwright: Playwright, limits: Limits) -> Iterator[tuple[BrowserContext, psutil.Process]]:
    """With a profile on disk, whose storage is as large as a visitor's; a private window has none."""
    executable = chromium_path(playwright)
    viewport: Any = dict(zip(("width", "height"), limits.viewport or (1280, 720), strict=True))
    before = {child.pid for child in _children()}
    with tempfile.TemporaryDirectory(prefix="weigh-in-", ignore_cleanup_errors=True) as profile:
        if limits.private:
            browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
            context, close = browser.new_context(viewport=viewport), browser.close
        else:
            context = playwright.chromium.launch_persistent_context(
                profile, executable_path=executable, args=FLAGS, headless=True, viewport=viewport
            )
            close = context.close
        try:
            yield context, next(child for child in _children() if child.pid not in before)
        finally:
            close()


def _data_bytes(process: psutil.Process) -> int:
    """``VmData``: what RLIMIT_DATA is about."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@contextmanager
def share_of_cores(cores: float, root: psutil.Process) -> Iterator[None]:
    """A process and its children get so many cores together, and what they start later with them."""
    parent = CPU_CONTROLLER if CPU_CONTROLLER.is_dir() else CPU_CONTROLLER.parent
    group = parent / f"featherweight-{os.getpid()}"
    quota = round(cores * PERIOD_US)
    try:
        group.mkdir()
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        for process in (root, *root.children(recursive=True)):
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(process.pid))
    except OSError as error:
        raise NotAllowedError(f"no control group with a CPU limit: {error}") from error
    try:
        yield
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def without_relaxed_simd(app: Any) -> Callable[..., Iterable[bytes]]:
    """A layer around the server that makes a browser of the page that has no relaxed SIMD."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        _, path = split_version(environ["PATH_INFO"].removeprefix("/static/"))
        if path not in VALIDATES:
            found: Iterable[bytes] = app(environ, start_response)
            return found
        environ = {key: value for key, value in environ.items() if key != "HTTP_ACCEPT_ENCODING"}
        held: list[Any] = []
        body = REFUSE_RELAXED_SIMD + b"".join(app(environ, lambda *begun: held.append(begun)))
        status, headers, *rest = held[0]
        kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "etag")]
        start_response(status, [*kept, ("Content-Length", str(len(body)))], *rest)
        return [body]

    return answer
