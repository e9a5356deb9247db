"""The set `busy`: what is left of the decode rate when every core has another process to run."""

from dataclasses import replace
from typing import Any

from benchmarks import texts
from benchmarks.bench import Bench
from benchmarks.load import busy_cores
from benchmarks.model_files import SMOLLM2
from benchmarks.sets.task import Task, task_of
from benchmarks.subjects import Subject, featherweight, onnxruntime_web_int8, wllama

PROMPT_TOKENS = 16


def tasks() -> list[Task]:
    """Our engine and the browser peers at their best."""
    peers = [onnxruntime_web_int8(SMOLLM2), wllama("Q8_0")]
    subjects = [featherweight(SMOLLM2, "q4"), *(replace(peer, once=True) for peer in peers)]
    return [task_of("busy", subject, measure) for subject in subjects]


def measure(bench: Bench, subject: Subject) -> dict[str, Any]:
    """Decode quiet and busy, on one page."""
    prompt = texts.prompt(PROMPT_TOKENS)
    with bench.visit() as visit:
        bench.load(visit, subject, prompt)
        bench.warm_up(visit, prompt)
        quiet = bench.rates(visit, prompt, bench.effort.new_tokens)["decode_tokens_per_s"]
        with busy_cores():
            busy = bench.rates(visit, prompt, bench.effort.new_tokens)["decode_tokens_per_s"]
    return {"quiet_tokens_per_s": quiet, "busy_tokens_per_s": busy, "busy_share": busy / quiet}
