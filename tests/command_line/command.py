"""Runs the command line as scripts do: exit codes, one line per error, one JSON object."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "convert"]


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **options)


def succeed(*arguments: object) -> dict[str, Any]:
    """Run with --json; stdout must be one JSON object."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return one_object(done.stdout)


def one_object(text: str) -> dict[str, Any]:
    assert text.count("\n") == 1
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def fail(code: int, *arguments: object) -> str:
    """Run without and with --json; the message, which must be the same one line in both."""
    plain, as_json = run(*arguments), run(*arguments, "--json")
    assert plain.returncode == as_json.returncode == code, plain.stderr
    assert plain.stdout == ""
    (line,) = [line for line in plain.stderr.splitlines() if line.startswith("featherweight: ")]
    assert plain.stderr.endswith(line + "\n")
    assert "Traceback" not in plain.stderr
    error = one_object(as_json.stdout)["error"]
    assert line == f"featherweight: error: {error['message']}"
    return str(error["message"])
