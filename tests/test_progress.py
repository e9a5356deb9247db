"""Progress: bars on a terminal, plain lines elsewhere, silence when asked."""

import io
import sys
from pathlib import Path

from convert.progress import LineProgress, Progress, SilentProgress, on_stream
from tests.terminal import run_on_terminal

ROOT = Path(__file__).parent.parent
MIB = 1 << 20


def test_plain_lines_come_at_intervals_with_rate_and_time_left() -> None:
    out, now = io.StringIO(), 0.0
    progress = LineProgress(out, lambda: now, interval_s=5.0)
    progress.start("convert", 100 * MIB)
    for now in (1.0, 2.0, 5.0, 6.0, 10.0):
        progress.advance(10 * MIB)
        progress.message(f"tensor at {now:.0f}")
    assert out.getvalue().splitlines() == [
        "convert (100.0 MiB)",
        "convert: 30.0 MiB of 100.0 MiB, 6.0 MiB/s, 12 s left, tensor at 2",
        "convert: 50.0 MiB of 100.0 MiB, 5.0 MiB/s, 10 s left, tensor at 6",
    ]


def test_plain_lines_without_a_total_give_no_time_left() -> None:
    out, now = io.StringIO(), 0.0
    progress = LineProgress(out, lambda: now)
    progress.start("download", None)
    now = 10.0
    progress.advance(MIB)
    assert out.getvalue().splitlines() == ["download", "download: 1.0 MiB, 0.1 MiB/s"]


def test_silence() -> None:
    progress: Progress = SilentProgress()
    progress.start("convert", 1)
    progress.advance(1)
    progress.message("done")


def test_a_stream_that_is_no_terminal_gets_plain_lines() -> None:
    out = io.StringIO()
    with on_stream(out) as progress:
        progress.start("verify", MIB)
    assert out.getvalue() == "verify (1.0 MiB)\n"


SHOW = """
import sys
from convert.progress import on_stream
with on_stream(sys.stderr) as progress:
    progress.start("convert", 1 << 20)
    progress.message("[red]tensor[/red] 1 of 2")
    progress.advance(1 << 19)
    progress.start("verify", None)
    progress.advance(1 << 19)
"""


def test_a_terminal_gets_bars_and_stdout_stays_clean() -> None:
    said, shown = run_on_terminal([sys.executable, "-c", SHOW], ROOT)
    assert said == ""
    assert "convert" in shown
    assert "verify" in shown
    assert "\x1b[" in shown
