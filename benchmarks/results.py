"""Owns the result file: facts about the machine, the settings, and every run as it was; written after each run."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.model_files import ROOT

COMMITTED = ROOT / "benchmarks" / "results"


@dataclass
class Results:
    """What a benchmark found."""

    facts: dict[str, Any]
    """See machine.facts."""
    settings: dict[str, Any]
    runs: list[dict[str, Any]] = field(default_factory=list)
    """Each with set, model, runtime, format, round, busy_before, and either measures or error."""

    def save(self, path: Path) -> None:
        """Write it at once, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {**self.facts, "settings": self.settings, "runs": [_rounded(run) for run in self.runs]}
        scratch = path.with_name(f".{path.name}")
        scratch.write_text(json.dumps(document, indent=1) + "\n")
        scratch.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        document = json.loads(path.read_text())
        settings, runs = document.pop("settings"), document.pop("runs")
        return cls(document, settings, runs)

    def rows(self, set_name: str) -> list["Row"]:
        """The rows of a set, in the order in which they first ran."""
        found: dict[tuple[str, str, str], Row] = {}
        for run in self.runs:
            if run["set"] == set_name:
                key = (run["model"], run["runtime"], run["format"])
                found.setdefault(key, Row(*key)).runs.append(run)
        return list(found.values())


@dataclass
class Row:
    """All runs of one runtime with one model in one format."""

    model: str
    runtime: str
    format: str
    runs: list[dict[str, Any]] = field(default_factory=list)

    def values(self, measure: str) -> list[float]:
        """A measure in every run that has it."""
        found = [run["measures"].get(measure) for run in self.runs if "measures" in run]
        return [value for value in found if value is not None]

    def median(self, measure: str) -> float | None:
        """None when no run has it."""
        values = self.values(measure)
        return statistics.median(values) if values else None

    @property
    def error(self) -> str | None:
        """The first line of what went wrong, when no run went right."""
        if any("measures" in run for run in self.runs):
            return None
        return str(self.runs[0]["error"]).splitlines()[0]


def adopt(results: Results, folder: str = "") -> None:
    """Keep a result among the committed ones, named by its date; that of a set run by itself in a folder of its own."""
    results.save(COMMITTED / folder / f"{results.facts['date']}.json")


def newest(folder: Path = COMMITTED) -> Path:
    """The newest committed result file; they are named by date.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{folder} has no result file: run `python -m benchmarks run --json FILE` first")
    return files[-1]


def _rounded(run: dict[str, Any]) -> dict[str, Any]:
    """Five digits of every measure: the rest is noise."""
    if "measures" not in run:
        return run
    short = {name: float(f"{value:.5g}") if value is not None else None for name, value in run["measures"].items()}
    return {**run, "measures": short}
