"""What can be measured: one set per question, one file per set."""

from collections.abc import Callable, Mapping

from benchmarks.sets import busy, context, decoder, encoders, kernels
from benchmarks.sets.task import Task

SETS: Mapping[str, Callable[[], list[Task]]] = {
    "decoder": decoder.tasks,
    "encoders": encoders.tasks,
    "kernels": kernels.tasks,
    "busy": busy.tasks,
    "context": context.tasks,
}
"""In the order in which a round runs them."""
