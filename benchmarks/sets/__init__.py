"""What can be measured: one set per question, one file per set."""

from collections.abc import Callable, Mapping

from benchmarks import gemma_files, model_files
from benchmarks.sets import busy, context, decoder, encoders, gemma, kernels
from benchmarks.sets.task import Task

SETS: Mapping[str, Callable[[], list[Task]]] = {
    "decoder": decoder.tasks,
    "encoders": encoders.tasks,
    "kernels": kernels.tasks,
    "busy": busy.tasks,
    "context": context.tasks,
    "gemma": gemma.tasks,
}
"""In the order in which a round runs them."""

PREPARATIONS: Mapping[str, Callable[[Callable[[str], None]], None]] = {"gemma": gemma_files.prepare}
"""What makes the files of a set that needs others than the bundled models'; such a set runs only when it is named."""

BY_DEFAULT = [name for name in SETS if name not in PREPARATIONS]


def prepare(sets: list[str], say: Callable[[str], None]) -> None:
    """Make the files that these sets need."""
    for make in {PREPARATIONS.get(name, model_files.prepare) for name in sets}:
        make(say)
