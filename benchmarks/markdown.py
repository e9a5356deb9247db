"""Owns the cells of Markdown tables: how a measure becomes text."""

from collections.abc import Callable
from typing import Any

from benchmarks.results import Row

NOTHING = "-"
Cell = Callable[[Row], str]


def figure(measure: str, factor: float = 1.0) -> Cell:
    """The median; with several runs, how far the extremes lie from it, in percent."""

    def cell(row: Row) -> str:
        values, middle = row.values(measure), row.median(measure)
        if middle is None:
            return "failed" if row.error else NOTHING
        spread = f" ±{50 * (max(values) - min(values)) / middle:.0f} %" if len(values) > 1 else ""
        return rounded(middle * factor) + spread

    return cell


def rounded(value: float | None) -> str:
    """Three digits, as many as a measurement is good for."""
    if value is None:
        return NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return NOTHING if share is None else f"{100 * share:.0f} %"


def table(columns: dict[str, Cell], rows: list[Row]) -> str:
    """A line for each row; empty without rows."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[cell(row) for cell in columns.values()] for row in rows]
    return grid(lines) if rows else ""


def grid(cells: list[list[Any]]) -> str:
    """Cells as lines of a table; the second line is the rule."""
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
