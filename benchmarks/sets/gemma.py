"""The set `gemma`: Gemma 2B at its true shape, random weights: load, memory, prefill and decode on every runtime."""

from dataclasses import replace
from typing import Any

from benchmarks import texts
from benchmarks.bench import Bench
from benchmarks.gemma_files import GEMMA, GEMMA_SMALLER, gguf_parts
from benchmarks.native import process
from benchmarks.sets.task import Task, task_of
from benchmarks.subjects import Subject, featherweight, llama_cpp, onnxruntime_web, wllama

FIRST_TOKENS, PROMPT_TOKENS, NEW_TOKENS = 4, 64, 32
CONTEXT_TOKENS = 1024
"""As much as the drivers of llama.cpp ask for."""
EMBEDDING_8, EMBEDDING_4 = "q4, embedding 8 bits", "q4, embedding 4 bits"
GGUF_FORMAT = "Q4_0, embedding Q6_K"
VISIT_LIMIT_S = 900


def tasks() -> list[Task]:
    """Ours and native llama.cpp in every round, the browser peers, which take minutes, once."""
    file = gguf_parts()[0]
    ours = [
        replace(subject, format=form, options={**subject.options, "contextLength": CONTEXT_TOKENS})
        for subject, form in (
            (featherweight(GEMMA, "q4"), EMBEDDING_8),
            (featherweight(GEMMA, "q4", GEMMA_SMALLER), EMBEDDING_4),
        )
    ]
    peers = [
        replace(wllama(GGUF_FORMAT, GEMMA, file), once=True),
        replace(onnxruntime_web(GEMMA, "q4", GEMMA_SMALLER), format=EMBEDDING_4, once=True),
    ]
    subjects = [*ours, llama_cpp(GGUF_FORMAT, GEMMA, file), *peers]
    return [task_of("gemma", subject, measure) for subject in subjects]


def measure(bench: Bench, subject: Subject) -> dict[str, Any]:
    """Load from the server and from the store, prefill, decode, memory."""
    first, prompt = (texts.prompt(tokens, GEMMA) for tokens in (FIRST_TOKENS, PROMPT_TOKENS))
    if subject.native:
        effort = {"warm_s": bench.effort.warm_s, "repeats": bench.effort.repeats, "limit_s": bench.effort.limit_s}
        ask = {"first": first, "prompts": [prompt], "new_tokens": [NEW_TOKENS], **effort}
        return process.ask(subject.driver, {"options": {"threads": bench.threads, **subject.options}, **ask})
    patient = replace(bench, visit_limit_s=VISIT_LIMIT_S)
    measures: dict[str, Any] = {}
    with patient.second_visit(subject, first, measures) as visit:
        patient.warm_up(visit, first)
        measures |= patient.rates(visit, prompt, NEW_TOKENS)
    return measures
