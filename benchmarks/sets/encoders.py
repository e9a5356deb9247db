"""The set `encoders`: load, three shapes of batch and memory of two encoders on every runtime."""

from benchmarks.bench import Bench
from benchmarks.sets.task import Task, task_of
from benchmarks.subjects import encoders


def tasks() -> list[Task]:
    """One per model, runtime and format."""
    return [task_of("encoders", subject, Bench.encoder) for subject in encoders()]
