"""Owns how commands print: one JSON object for scripts, or tables for people; sizes in the units of downloads."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def megabytes(size_bytes: int) -> str:
    """``size_bytes`` as text in MB (10**6 bytes), as browsers show downloads."""
    return f"{size_bytes / 1e6:.1f} MB"


def print_json(report: Any) -> None:
    """Print a dataclass or a dict as one JSON object."""
    content = report if isinstance(report, dict) else dataclasses.asdict(report)
    click.echo(json.dumps(content, sort_keys=True, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table with the first column to the left and the others to the right."""
    table = Table(box=None, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH  # nobody's screen cuts it off
    console.print(table)


def one_line(text: str) -> str:
    """``text`` on one line, without the control characters that a hostile file name could send to a terminal."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
