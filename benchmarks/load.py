"""Owns the busy machine: one process per core that does nothing but use it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

SETTLE_S = 0.5


@contextmanager
def busy_cores() -> Iterator[None]:
    """All cores busy, until the block ends."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        time.sleep(SETTLE_S)
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
        for spinner in spinners:
            spinner.wait()
