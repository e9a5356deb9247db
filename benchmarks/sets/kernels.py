"""The set `kernels`: single kernels in the browser beside the rate at which a plain loop reads memory."""

from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.bench import FULL, Bench
from benchmarks.model_files import SMOLLM2
from benchmarks.sets.task import Task
from benchmarks.subjects import OURS

MIB = 1 << 20
COLD_BYTES = 384 * MIB
"""Working set of what is held to the read rate: far above any last-level cache."""
WARM_BYTES = 4 * MIB
"""Working set of what computes more than it reads."""
SHAPE = {"inner": 576, "columns": 1536}
"""The widest matrix of SmolLM2."""
WEIGHTS = {
    "q4": {"bits": 4},
    "q4, Q4_1 blocks": {"bits": 4, "affine": 1},
    "q8": {"bits": 8},
    "fp32, as 16-bit blocks": {"bits": 16},
}
ATTENTION = {"heads": 9, "kvHeads": 3, "width": 64, "keys": 1024}
CACHES = {"fp32 cache": 0, "16-bit cache": 1, "8-bit cache": 2}
READ = "plain read"


def tasks() -> list[Task]:
    """All kernels on one thread, and on all."""
    kinds = {"1 thread": True, "all threads": False}
    return [
        Task("kernels", SMOLLM2, OURS, name, partial(measure, single=single), once=True)
        for name, single in kinds.items()
    ]


def rows() -> dict[str, tuple[str, dict[str, Any]]]:
    """By name: the function of pages/kernels.js and its arguments."""
    found: dict[str, tuple[str, dict[str, Any]]] = {READ: ("bandwidth", {"bytes": COLD_BYTES})}
    for count, bytes_ in ((1, COLD_BYTES), (16, WARM_BYTES), (128, WARM_BYTES)):
        for name, weights in WEIGHTS.items():
            found[f"matmul {name}, {count} x"] = ("matmul", {**weights, **SHAPE, "rows": count, "bytes": bytes_})
    for count, bytes_ in ((1, COLD_BYTES), (128, WARM_BYTES)):
        for name, kind in CACHES.items():
            ask = {**ATTENTION, "type": kind, "rows": count, "bytes": bytes_}
            found[f"attention {name}, {count} x"] = ("attention", ask)
    return found


def measure(bench: Bench, *, single: bool) -> dict[str, Any]:
    """GB/s and GMAC/s of every row, all on one page."""
    bench = replace(bench, threads=1) if single else bench
    passes = 9 if bench.effort is FULL else 1
    measures: dict[str, Any] = {}
    with bench.visit("kernels") as visit:
        visit.call("load", threads=bench.threads)
        for name, (function, ask) in rows().items():
            if bench.effort is not FULL:
                ask = {**ask, "bytes": WARM_BYTES}
            found = visit.call(function, passes=passes, **ask)
            measures |= {f"{name}.{unit}": value for unit, value in found.items()}
    return measures
