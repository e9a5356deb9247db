"""Owns what a set is made of: one named measurement."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.bench import Bench
from benchmarks.subjects import Subject


@dataclass(frozen=True)
class Task:
    """A measurement, and the columns that its row is found by."""

    set: str
    model: str
    runtime: str
    format: str
    run: Callable[[Bench], dict[str, Any]]
    """Gives measures by name, the unit being the end of the name."""
    once: bool = False
    """Whether one round is enough."""

    @property
    def title(self) -> str:
        """For the log, and for ``--only``."""
        return f"{self.set}: {self.model} {self.runtime} {self.format}"


def task_of(set_name: str, subject: Subject, run: Callable[[Bench, Subject], dict[str, Any]]) -> Task:
    """The measurement ``run`` of a subject."""
    named = (set_name, subject.model, subject.runtime, subject.format)
    return Task(*named, run=lambda bench: run(bench, subject), once=subject.once)
