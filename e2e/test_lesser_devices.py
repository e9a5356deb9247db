"""The verdict follows what a device lacks, and is true: what fits runs, what does not fit fails when it is tried."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Page, Playwright

from benchmarks.weigh_in.lesser_device import visiting
from benchmarks.weigh_in.limits import LIMITS, NONE
from e2e.conftest import MINILM, SMOLLM2

IMPORT = "const fw = await import('/static/featherweight.js');"
FIT = "return fw.fit(argument.url, { dtype: argument.dtype, contextLength: 256, device: await fw.probeDevice() });"
RUN = """const { url, dtype } = argument;
const model = await fw.loadModel(url, { dtype, contextLength: 256, backend: "wasm" });
if (model.prefill) { await model.prefill([1, 2, 3]); }
const { threads } = model.stats;
await model.dispose();
return threads;"""


@pytest.fixture
def page(playwright: Playwright, models: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page with the limits that the test names, in a browser with a profile on disk."""
    with visiting(playwright, request.param, models) as device:
        yield device.page


def call(page: Page, script: str, model: str = SMOLLM2, dtype: str = "q4") -> Any:
    argument = {"url": f"/{model}/resolve/main/manifest.json", "dtype": dtype}
    return page.evaluate(f"async (argument) => {{ {IMPORT} {script} }}", argument)


@pytest.mark.parametrize("page", [LIMITS["little storage"]], indirect=True)
def test_little_storage_holds_the_small_model_and_not_the_large(page: Page) -> None:
    assert call(page, FIT, MINILM, "q8")["supported"] is True
    verdict = call(page, FIT)
    assert verdict["supported"] is False
    assert any("more storage" in sentence for sentence in verdict["why"])
    with pytest.raises(Error, match="Not enough storage"):
        call(page, RUN)


@pytest.mark.parametrize("page", [LIMITS["little memory"]], indirect=True)
def test_little_memory_holds_the_small_model_and_not_the_large(page: Page) -> None:
    assert call(page, FIT, MINILM, "q8")["supported"] is True
    verdict = call(page, FIT)
    assert verdict["supported"] is False
    assert verdict["memory"]["limit"] == 2**27
    assert any("more than the" in sentence for sentence in verdict["why"])


@pytest.mark.parametrize("page", [LIMITS["not isolated"]], indirect=True)
def test_without_isolation_one_core_is_planned_and_used(page: Page) -> None:
    verdict = call(page, FIT)
    assert verdict["supported"] is True
    assert verdict["plan"]["threads"] == 1
    assert any("not cross-origin isolated" in sentence for sentence in verdict["why"])
    assert call(page, RUN) == 1


@pytest.mark.parametrize("page", [LIMITS["no relaxed SIMD"]], indirect=True)
def test_without_relaxed_simd_the_other_kernels_are_measured_and_run(page: Page) -> None:
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    verdict = call(page, FIT)
    assert verdict["supported"] is True
    assert verdict["decode_tokens_per_s"]
    call(page, RUN)
    kernels = {url.rsplit("/", 1)[1] for url in asked if "kernels_" in url}
    assert kernels == {"kernels_simd_threads.wasm"}


@pytest.mark.parametrize("page", [replace(NONE, bytes_per_s=1.1e6), replace(NONE, bytes_per_s=2e5)], indirect=True)
def test_download_time_of_slow_networks_is_of_the_true_order_or_said_not_to_be_known(
    page: Page, request: pytest.FixtureRequest
) -> None:
    verdict = call(page, FIT)
    if verdict["download"]["seconds"] is None:  # too busy a machine for a probe of two seconds
        assert any("download takes is not known" in sentence for sentence in verdict["why"])
        return
    low, high = verdict["download"]["seconds"]
    seconds = verdict["download"]["bytes"] / request.node.callspec.params["page"].bytes_per_s
    assert low / 1.5 < seconds < high * 1.5
