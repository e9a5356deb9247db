"""The set `context`: how the time of one token grows with the tokens before it."""

from dataclasses import replace
from typing import Any

from benchmarks import texts
from benchmarks.bench import Bench
from benchmarks.model_files import SMOLLM2
from benchmarks.sets.task import Task, task_of
from benchmarks.subjects import Subject, featherweight

LENGTHS = (128, 1024, 4096, 8128)
"""Tokens; the last is the model's limit of 8192 less the new tokens."""
NEW_TOKENS = 32
DTYPE = "q4"


def tasks() -> list[Task]:
    """Our engine only: a peer's prefill of 8192 tokens takes minutes."""
    return [task_of("context", replace(featherweight(SMOLLM2, DTYPE), once=True), measure)]


def measure(bench: Bench, subject: Subject) -> dict[str, Any]:
    """Milliseconds per token at each length, in one conversation that grows, and what the cost model had expected."""
    first, lengths = texts.prompt(16), {"lengths": LENGTHS}
    with bench.visit("expectation") as visit:
        expected = visit.call("decodeAtContexts", **lengths, threads=bench.threads, **subject.options)
    with bench.visit() as visit:
        bench.load(visit, subject, first)
        bench.warm_up(visit, first)
        ids = texts.prompt(LENGTHS[-1])["ids"]
        found = visit.call("decodeAtContexts", ids=ids, **lengths, newTokens=NEW_TOKENS)
    measures = {f"at_{length}_ms": found[str(length)] for length in LENGTHS}
    return measures | {f"expected_{length}_ms": expected[str(length)] for length in LENGTHS}
