"""Owns what is weighed: models, dtypes, threads and contexts on the device as it is, and some on lesser devices."""

from dataclasses import dataclass

from benchmarks.gemma_files import GEMMA
from benchmarks.model_files import DISTILBERT, MINILM, SMOLLM2
from benchmarks.weigh_in.files import SHAPE_7M, SHAPE_60M, SHAPE_300M, WIDE_CACHE
from benchmarks.weigh_in.limits import LIMITS, NONE


@dataclass(frozen=True)
class Visit:
    """One fresh browser: a variant on so many threads, weighed and run at each of the contexts."""

    model: str
    dtype: str
    threads: int
    contexts: tuple[int, ...]
    tuned: bool = False
    """Whether constants of the cost model were chosen by it."""
    once: bool = False
    """Takes minutes, and is left out of later rounds."""
    limits: str = NONE.name

    @property
    def title(self) -> str:
        """What `--only` looks into."""
        return f"{self.limits}: {self.model} {self.dtype}, {self.threads} threads"


SHORT, BOTH = (128,), (128, 2048)


def visits() -> list[Visit]:
    """All of them, in the order of a round: those that take minutes come last."""
    rows = [Visit(SMOLLM2, "q4", threads, BOTH, tuned=True) for threads in (1, 2)]
    rows += [Visit(MINILM, "q8", threads, SHORT, tuned=True) for threads in (1, 2)]
    rows += [Visit(SMOLLM2, "q8", threads, BOTH) for threads in (1, 2)]
    rows += [Visit(MINILM, "fp32", threads, SHORT) for threads in (1, 2)]
    rows += [Visit(DISTILBERT, "q8", threads, SHORT) for threads in (1, 2)]
    rows += [Visit(shape, "q4", threads, BOTH) for shape in (SHAPE_60M, SHAPE_300M) for threads in (1, 2)]
    return [*rows, *constrained(), *(Visit(GEMMA, "q4", threads, BOTH, once=True) for threads in (1, 2))]


def constrained() -> list[Visit]:
    """What a lesser device changes: speed on every one that changes it, and what fits beside what does not."""
    speed = [
        Visit(SMOLLM2, "q4", threads, SHORT, once=True, limits=name)
        for name in ("busy cores", "half a core", "phone", "not isolated", "no relaxed SIMD")
        for threads in ((2,) if name in ("not isolated", "no relaxed SIMD") else (1, 2))
    ]
    fits = [
        Visit(WIDE_CACHE, "q4", 2, (128, 8192), once=True, limits="long context"),
        Visit(MINILM, "q8", 2, SHORT, once=True, limits="little storage"),
        Visit(SMOLLM2, "q4", 2, SHORT, once=True, limits="little storage"),
        Visit(GEMMA, "q4", 2, SHORT, once=True, limits="private window"),
        Visit(MINILM, "q8", 2, SHORT, once=True, limits="little memory"),
        Visit(SMOLLM2, "q4", 2, SHORT, once=True, limits="little memory"),
    ]
    network = [
        Visit(SHAPE_7M, "q4", 2, SHORT, once=True, limits="3G"),
        Visit(SHAPE_7M, "q4", 2, SHORT, once=True, limits="4G"),
        Visit(MINILM, "q8", 2, SHORT, once=True, limits="4G"),
    ]
    assert {row.limits for row in (*speed, *fits, *network)} <= set(LIMITS)
    return [*speed, *fits, *network]
