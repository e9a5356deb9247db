"""Runs a command whose stderr is a terminal."""

import os
import pty
import subprocess
import tempfile
from pathlib import Path


def run_on_terminal(command: list[str], cwd: Path) -> tuple[str, str]:
    """What the command wrote to stdout, which is a file, and what its terminal was sent; it must succeed."""
    master, slave = pty.openpty()
    shown = b""
    with (
        tempfile.TemporaryFile("w+") as stdout,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=slave, cwd=cwd) as process,
    ):
        os.close(slave)
        try:
            while piece := os.read(master, 1 << 16):
                shown += piece
        except OSError:  # Linux says EIO when the last writer is gone
            pass
        os.close(master)
        assert process.wait() == 0, shown.decode()
        stdout.seek(0)
        return stdout.read(), shown.decode()
