"""The benchmarks' pages work in a real Chromium: one encoder, and every kernel, on as little as possible."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from benchmarks import site, texts
from benchmarks.bench import QUICK, Bench
from benchmarks.sets import kernels
from benchmarks.subjects import featherweight
from e2e.conftest import MINILM


@pytest.fixture
def bench(playwright: Playwright, models: Path) -> Iterator[Bench]:
    with site.running(models) as running:
        yield Bench(playwright, running, replace(QUICK, warm_s=0), threads=2)


def test_page_measures_an_encoder_and_its_memory(bench: Bench) -> None:
    batch = texts.batch(1, 16)
    measures: dict[str, float] = {}
    with bench.second_visit(featherweight(MINILM, "q8"), batch, measures) as visit:
        assert visit.call("encode", repeats=1, limit_ms=1000, **batch) > 0
    assert measures["fetched_bytes"] > 20_000_000
    assert measures["peak_memory_bytes"] > measures["fetched_bytes"]


def test_page_measures_every_kernel(bench: Bench) -> None:
    measures = kernels.measure(bench, single=False)
    assert {name.split(".")[0] for name in measures} == set(kernels.rows())
    assert all(value > 0 for value in measures.values())
