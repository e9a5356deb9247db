"""Owns how long work reports itself: the protocol that every stage sees; its silent, terminal and plain forms."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

LINE_INTERVAL_S = 5.0


class Progress(Protocol):
    """What a stage says about its work; a new phase ends the one before."""

    def start(self, phase: str, total_bytes: int | None) -> None:
        """Begin ``phase`` ("download", "convert", "verify", ...); None when the total is not known yet."""

    def advance(self, size_bytes: int) -> None:
        """Count ``size_bytes`` more as done in the current phase."""

    def message(self, text: str) -> None:
        """Say in a few words what is being worked on now ("tensor 12 of 272")."""


class SilentProgress:
    """Reports nothing; for library calls and tests."""

    def start(self, phase: str, total_bytes: int | None) -> None:
        """Do nothing."""

    def advance(self, size_bytes: int) -> None:
        """Do nothing."""

    def message(self, text: str) -> None:
        """Do nothing."""


class TerminalProgress:
    """One live line per phase: bar, bytes of total, rate, time left and the current item."""

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[item]}", style="dim", markup=False),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, phase: str, total_bytes: int | None) -> None:
        """Add a line for ``phase`` and freeze the one before."""
        if self._task is not None:
            self._bars.update(self._task, item="")
            self._bars.stop_task(self._task)
        self._task = self._bars.add_task(phase, total=total_bytes, item="")

    def advance(self, size_bytes: int) -> None:
        """Move the current line."""
        if self._task is not None:
            self._bars.advance(self._task, size_bytes)

    def message(self, text: str) -> None:
        """Show ``text`` at the end of the current line."""
        if self._task is not None:
            self._bars.update(self._task, item=text)


class LineProgress:
    """A plain line now and then, for logs and pipes; ``clock`` gives seconds."""

    def __init__(
        self, stream: TextIO, clock: Callable[[], float] = time.monotonic, interval_s: float = LINE_INTERVAL_S
    ) -> None:
        self._stream, self._clock, self._interval_s = stream, clock, interval_s
        self._phase, self._item = "", ""
        self._total_bytes: int | None = None
        self._done_bytes = 0
        self._started_s = self._said_s = 0.0

    def start(self, phase: str, total_bytes: int | None) -> None:
        """Print that ``phase`` begins."""
        self._phase, self._total_bytes, self._done_bytes, self._item = phase, total_bytes, 0, ""
        self._started_s = self._said_s = self._clock()
        size = "" if total_bytes is None else f" ({mebibytes(total_bytes)})"
        self._say(f"{phase}{size}")

    def advance(self, size_bytes: int) -> None:
        """Count, and print a line when the interval is over."""
        self._done_bytes += size_bytes
        now_s = self._clock()
        if now_s - self._said_s < self._interval_s:
            return
        self._said_s = now_s
        rate = self._done_bytes / max(now_s - self._started_s, 1e-9)
        parts = [mebibytes(self._done_bytes)]
        if self._total_bytes:
            left_s = max(self._total_bytes - self._done_bytes, 0) / max(rate, 1e-9)
            parts = [
                f"{mebibytes(self._done_bytes)} of {mebibytes(self._total_bytes)}",
                f"{left_s:.0f} s left",
            ]
        parts.insert(1, f"{mebibytes(int(rate))}/s")
        self._say(f"{self._phase}: " + ", ".join([*parts, *([self._item] if self._item else [])]))

    def message(self, text: str) -> None:
        """Keep ``text`` for the next line."""
        self._item = text

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


@contextmanager
def on_stream(stream: TextIO) -> Iterator[Progress]:
    """Yield the form that suits ``stream``: live bars on a terminal, plain lines elsewhere."""
    if stream.isatty():
        with TerminalProgress(Console(file=stream)) as bars:
            yield bars
    else:
        yield LineProgress(stream)


def mebibytes(size_bytes: int) -> str:
    """``size_bytes`` as text in MiB with one decimal."""
    return f"{size_bytes / (1 << 20):.1f} MiB"
