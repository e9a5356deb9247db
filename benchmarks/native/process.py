"""Owns the protocol of a native process: the same steps as in the page, asked for on stdin and answered on stdout."""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.model_files import ROOT

TIMEOUT_S = 180


class Decoder(Protocol):
    """What the module of a runtime gives for a language model."""

    def generate(self, ids: list[int], new_tokens: int) -> tuple[int, float, float]:
        """Greedy tokens after ``ids``: how many were read, seconds to the first, seconds for ``new_tokens`` more."""


class Encoder(Protocol):
    """What the module of a runtime gives for an encoder."""

    def encode(self, ids: list[list[int]]) -> None:
        """Run a batch."""


def ask(module: str, request: dict[str, Any]) -> dict[str, Any]:
    """Measure in a new process.

    Raises:
        RuntimeError: it failed; with the last lines that it printed.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    done = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT
    )
    if done.returncode != 0:
        raise RuntimeError("\n".join((done.stderr or done.stdout).strip().splitlines()[-5:]))
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def answer(load: Callable[[dict[str, Any]], Any]) -> None:
    """Serve one request: load, warm up, measure, print."""
    request = json.load(sys.stdin)
    started = time.perf_counter()
    runner = load(request["options"])
    measures = (_encoder if "batches" in request else _decoder)(runner, request, started)
    scale = 1 if sys.platform == "darwin" else 1024
    measures["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    print(json.dumps(measures))


def _decoder(runner: Decoder, request: dict[str, Any], started: float) -> dict[str, Any]:
    runner.generate(request["first"]["ids"], 0)
    measures: dict[str, Any] = {"first_s": time.perf_counter() - started}
    end = time.perf_counter() + request["warm_s"]
    while time.perf_counter() < end:
        runner.generate(request["first"]["ids"], 8)
    rates: dict[str, list[float]] = {}
    for prompt, new_tokens in zip(request["prompts"], request["new_tokens"], strict=True):
        limit = time.perf_counter() + request["limit_s"]
        for _ in range(request["repeats"]):
            tokens = len(prompt["ids"])
            read, prefill_s, decode_s = runner.generate(prompt["ids"], new_tokens)
            if read != tokens:
                raise RuntimeError(f"the runtime saw {read} tokens of a prompt of {tokens}")
            rates.setdefault(f"prefill_{tokens}_tokens_per_s", []).append(tokens / prefill_s)
            if new_tokens:
                rates.setdefault("decode_tokens_per_s", []).append(new_tokens / decode_s)
            if time.perf_counter() > limit:
                break
    return measures | {name: statistics.median(values) for name, values in rates.items()}


def _encoder(runner: Encoder, request: dict[str, Any], started: float) -> dict[str, Any]:
    batches = request["batches"]
    runner.encode(next(iter(batches.values()))["ids"])
    measures: dict[str, Any] = {"first_s": time.perf_counter() - started}
    for name, batch in batches.items():
        times = []
        for _ in range(request["repeats"] + 1):
            before = time.perf_counter()
            runner.encode(batch["ids"])
            times.append(1000 * (time.perf_counter() - before))
        measures[f"{name}_ms"] = statistics.median(times[1:])
    return measures
