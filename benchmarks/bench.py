"""Owns one measurement of one subject: visits and native processes, with the same steps for every runtime."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Playwright

from benchmarks import texts
from benchmarks.browser import VISIT_LIMIT_S, Visit, visiting
from benchmarks.native import process
from benchmarks.site import Site
from benchmarks.subjects import Subject

SLOW_TOKENS_PER_S = 40
"""Below this prefill the longer prompt is left out: it would take minutes."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    warm_s: float
    repeats: int
    new_tokens: int
    limit_s: float
    """A slow peer gets no more time than this for the new tokens of a prompt, or for the repeats of one."""


FULL = Effort(warm_s=3, repeats=3, new_tokens=64, limit_s=6)
QUICK = Effort(warm_s=0.3, repeats=1, new_tokens=8, limit_s=2)


@contextmanager
def profile_folder() -> Iterator[Path]:
    """An empty folder for a browser's profile."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Bench:
    """What a measurement needs: a browser to start, a server, and how much effort to make."""

    playwright: Playwright
    site: Site
    effort: Effort
    threads: int
    visit_limit_s: float = VISIT_LIMIT_S

    @contextmanager
    def visit(self, script: str = "measure", profile: Path | None = None) -> Iterator[Visit]:
        """A browser at the page, by default with a fresh profile that is deleted afterwards."""
        with (
            profile_folder() as fresh,
            visiting(self.playwright, self.site.url, profile or fresh, script, self.visit_limit_s) as visit,
        ):
            yield visit

    def load(self, visit: Visit, subject: Subject, first: dict[str, Any]) -> float:
        """Load ``subject`` in the page; seconds from the library's first byte to the first result."""
        options = {"runtime": subject.driver, "first": first, "threads": self.threads, **subject.options}
        return float(visit.call("load", **options)["first_ms"]) / 1000

    @contextmanager
    def second_visit(self, subject: Subject, first: dict[str, Any], measures: dict[str, Any]) -> Iterator[Visit]:
        """Visit twice: the first time everything comes over the network, the second time from the browser's stores."""
        with profile_folder() as profile:
            sent = self.site.sent_bytes
            with self.visit(profile=profile) as visit:
                measures["first_visit_s"] = self.load(visit, subject, first)
                measures["fetched_bytes"] = self.site.sent_bytes - sent
            with self.visit(profile=profile) as visit:
                sent = self.site.sent_bytes
                measures["first_s"] = self.load(visit, subject, first)
                measures["fetched_again_bytes"] = self.site.sent_bytes - sent
                yield visit
                measures["peak_memory_bytes"] = visit.peak_memory_bytes()

    def decoder(self, subject: Subject) -> dict[str, Any]:
        """Load, prefill of 128 and 512 tokens, decode, memory."""
        first, prompts = texts.prompt(16), [texts.prompt(128), texts.prompt(512)]
        new_tokens = [self.effort.new_tokens, 0]
        if subject.native:
            effort = {"warm_s": self.effort.warm_s, "repeats": self.effort.repeats, "limit_s": self.effort.limit_s}
            ask = {"first": first, "prompts": prompts, "new_tokens": new_tokens, **effort}
            return process.ask(subject.driver, {"options": {"threads": self.threads, **subject.options}, **ask})
        measures: dict[str, Any] = {}
        with self.second_visit(subject, first, measures) as visit:
            self.warm_up(visit, first)
            for prompt, count in zip(prompts, new_tokens, strict=True):
                if measures.get("prefill_128_tokens_per_s", SLOW_TOKENS_PER_S) >= SLOW_TOKENS_PER_S:
                    measures |= self.rates(visit, prompt, count)
        return measures

    def encoder(self, subject: Subject) -> dict[str, Any]:
        """Load, milliseconds of three batches, memory."""
        batches = {f"{rows}x{tokens}": texts.batch(rows, tokens) for rows, tokens in ((1, 16), (1, 128), (8, 128))}
        repeats = self.effort.repeats + 2
        if subject.native:
            options = {"threads": self.threads, **subject.options}
            return process.ask(subject.driver, {"options": options, "batches": batches, "repeats": repeats})
        measures: dict[str, Any] = {}
        with self.second_visit(subject, batches["1x16"], measures) as visit:
            visit.call("warmUp", milliseconds=1000 * self.effort.warm_s, **batches["1x128"])
            limit = {"repeats": repeats, "limit_ms": 1000 * self.effort.limit_s / 3}
            for name, batch in batches.items():
                measures[f"{name}_ms"] = visit.call("encode", **limit, **batch)
        return measures

    def warm_up(self, visit: Visit, first: dict[str, Any]) -> None:
        """Let the browser compile the decoder's hot code well."""
        visit.call("warmUp", milliseconds=1000 * self.effort.warm_s, newTokens=16, **first)

    def rates(self, visit: Visit, prompt: dict[str, Any], new_tokens: int) -> dict[str, float]:
        """Medians of prefill and, with new tokens, of decode; a slow peer is not asked again."""
        found: list[dict[str, float | None]] = []
        limit = time.monotonic() + self.effort.limit_s
        while len(found) < self.effort.repeats and (not found or time.monotonic() < limit):
            limit_ms = 1000 * self.effort.limit_s
            found.append(visit.call("generate", newTokens=new_tokens, limit_ms=limit_ms, **prompt))
        names = {"prefill_tokens_per_s": f"prefill_{len(prompt['ids'])}_tokens_per_s"}
        medians = {}
        for name in ("prefill_tokens_per_s", "decode_tokens_per_s"):
            if values := [value for item in found if (value := item[name]) is not None]:
                medians[names.get(name, name)] = statistics.median(values)
        return medians
