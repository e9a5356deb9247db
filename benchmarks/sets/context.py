"""The set `context`: how the time of one token grows with the tokens before it."""

from dataclasses import replace
from typing import Any

from benchmarks import texts
from benchmarks.bench import Bench
from benchmarks.model_files import MODELS, SMOLLM2
from benchmarks.sets.task import Task, task_of
from benchmarks.subjects import Subject, featherweight
from convert import manifest as manifests

LENGTHS = (128, 1024, 4096, 8128)
"""Tokens; the last is the model's limit of 8192 less the new tokens."""
NEW_TOKENS = 16
DTYPE = "q4"


def tasks() -> list[Task]:
    """Our engine only: a peer's prefill of 8192 tokens takes minutes."""
    return [task_of("context", replace(featherweight(SMOLLM2, DTYPE), once=True), measure)]


def measure(bench: Bench, subject: Subject) -> dict[str, Any]:
    """Milliseconds per token at each length, in one conversation that grows, and what the bytes read let expect."""
    first = texts.prompt(16)
    with bench.visit() as visit:
        bench.load(visit, subject, first)
        bench.warm_up(visit, first)
        ids = texts.prompt(LENGTHS[-1])["ids"]
        found = visit.call("decodeAtContexts", ids=ids, lengths=LENGTHS, newTokens=NEW_TOKENS)
    measures = {f"at_{length}_ms": found[str(length)] for length in LENGTHS}
    return measures | {f"by_bytes_{length}_ms": found[str(LENGTHS[0])] * _bytes_ratio(length) for length in LENGTHS}


def _bytes_ratio(length: int) -> float:
    """Bytes that a token reads after ``length`` others, weights and cache, to those after the shortest context."""
    cost = manifests.load(MODELS / SMOLLM2).variant(DTYPE).cost
    weights = sum(operators.bytes for operators in cost.per_token.values())
    return (weights + length * cost.kv_bytes_per_token) / (weights + LENGTHS[0] * cost.kv_bytes_per_token)
