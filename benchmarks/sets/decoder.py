"""The set `decoder`: load, prefill, decode and memory of SmolLM2 on every runtime."""

from benchmarks.bench import Bench
from benchmarks.sets.task import Task, task_of
from benchmarks.subjects import decoders


def tasks() -> list[Task]:
    """One per runtime and format."""
    return [task_of("decoder", subject, Bench.decoder) for subject in decoders()]
