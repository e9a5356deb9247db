"""The weigh-in in a real browser: the probe's limits, verdicts before the download, ghost runs, receipts, sharing."""

import json
import re
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from e2e.conftest import MINILM, SMOLLM2, serving

expect.set_options(timeout=120_000)
IMPORT = "const fw = await import('/static/featherweight.js');"
PROBE_LIMIT_BYTES = 2_000_000
PROBE_LIMIT_S = 2
LONG_TASK_MS = 50


def call(page: Page, script: str, argument: Any = None) -> Any:
    return page.evaluate(f"async (argument) => {{ {IMPORT} {script} }}", argument)


@pytest.fixture
def quiet_page(page: Page, base_url: str) -> Page:
    """A page of the origin that runs nothing by itself."""
    page.goto(f"{base_url}/healthz")
    return page


def manifest_url(base_url: str, model: str) -> str:
    rows = json.loads(urllib.request.urlopen(f"{base_url}/api/models").read())
    return next(str(row["manifest_url"]) for row in rows if row["id"] == model)


def test_probe_keeps_to_its_limits(page: Page, models: Path) -> None:
    sent: list[int] = []

    def counted(app: Any) -> Any:
        def layer(environ: dict[str, Any], start_response: Any) -> Any:
            with closing(app(environ, start_response)) as chunks:
                for chunk in chunks:
                    sent.append(len(chunk))
                    yield chunk

        return layer

    with serving(models, wrap=counted) as url:
        page.goto(f"{url}/healthz")
        call(
            page,
            """globalThis.tasks = [];
            const note = (list) => tasks.push(...list.getEntries().map(({ duration }) => duration));
            await fw.probeDevice({ measure: false });  // the modules are compiled
            await new Promise((done) => setTimeout(done, 200));
            new PerformanceObserver(note).observe({ type: "longtask" });""",
        )
        # A machine that is many times too busy has nothing to tell after two seconds.
        for _ in range(6):
            rates = call(page, "return (await fw.probeDevice({ fresh: true })).rates;")
            assert sum(sent) < PROBE_LIMIT_BYTES
            sent.clear()
            if rates and rates["download_bytes_per_s"]:
                break
        tasks = call(page, "return tasks;")
    assert rates["by_threads"][0]["threads"] == 1
    for entry in rates["by_threads"]:
        for rate in (*entry["linear"].values(), entry["attention"]):
            assert 1e6 < rate["bytes_per_s"] < 1e12
            assert 1e6 < rate["macs_per_s"] < 1e13
    assert rates["download_bytes_per_s"] > 0
    assert [duration for duration in tasks if duration > LONG_TASK_MS] == []
    assert rates["probe_s"] <= PROBE_LIMIT_S  # by the probe's own clock, which begins when its code is here


def test_probe_is_repeated_when_it_is_old(quiet_page: Page) -> None:
    found = call(
        quiet_page,
        """const copies = () => JSON.parse(localStorage.getItem("featherweight.rates"))?.at;
        for (let tries = 0; tries < 6 && !copies(); tries++) await fw.probeDevice({ fresh: true });
        const before = copies();
        await fw.probeDevice();
        const taken = copies() === before;
        const aged = JSON.parse(localStorage.getItem("featherweight.rates"));
        localStorage.setItem("featherweight.rates", JSON.stringify({ ...aged, at: before - 8 * 24 * 3600 * 1000 }));
        await fw.probeDevice();
        return { taken, renewed: copies() >= before };""",
    )
    assert found == {"taken": True, "renewed": True}


def test_probe_is_over_in_time_when_the_network_is_not(page: Page, models: Path) -> None:
    def late(app: Any) -> Any:
        def layer(environ: dict[str, Any], start_response: Any) -> Any:
            if "HTTP_RANGE" in environ:
                time.sleep(PROBE_LIMIT_S + 1)
            return app(environ, start_response)

        return layer

    with serving(models, wrap=late) as url:
        page.goto(f"{url}/healthz")
        rates = call(page, "return (await fw.probeDevice()).rates;")
    assert rates["by_threads"][0]["linear"]["linear_4bit"]["bytes_per_s"] > 0
    assert rates["download_bytes_per_s"] is None
    assert rates["probe_s"] <= PROBE_LIMIT_S


def test_probe_can_be_stopped(quiet_page: Page) -> None:
    code = call(
        quiet_page,
        """const stop = new AbortController();
        setTimeout(() => stop.abort(), 100);
        return fw.probeDevice({ fresh: true, signal: stop.signal }).then(() => "finished", ({ code }) => code);""",
    )
    assert code == "aborted"


def test_verdict_comes_before_the_download(quiet_page: Page, base_url: str) -> None:
    verdict = call(
        quiet_page,
        "return fw.fit(argument, { dtype: 'q4', contextLength: 1024 });",
        manifest_url(base_url, SMOLLM2),
    )
    assert verdict["supported"] is True
    assert verdict["basis"] == "probe"
    assert verdict["download"]["remaining_bytes"] == verdict["download"]["bytes"]
    low, high = verdict["decode_tokens_per_s"]
    assert 0 < low < verdict["expected"]["decode_tokens_per_s"] < high
    larger = verdict["alternatives"]["larger"]
    assert larger["dtype"] == "q8"
    assert larger["download_bytes"] > verdict["download"]["bytes"]
    assert larger["decode_tokens_per_s"] is not None


def test_ghost_run_downloads_no_weights(quiet_page: Page, base_url: str) -> None:
    paths: list[str] = []
    quiet_page.context.on("request", lambda request: paths.append(request.url))
    ghost = call(quiet_page, "return fw.ghostRun(argument, { dtype: 'q4' });", manifest_url(base_url, SMOLLM2))
    assert ghost["decode_tokens_per_s"] > 0
    assert ghost["prefill_tokens_per_s"] > 0
    assert any(path.endswith("/onnx/model_q4.onnx") for path in paths)
    assert not any("onnx_data" in path for path in paths)


def test_answer_leaves_a_receipt_that_can_be_shared(context: BrowserContext, models: Path, tmp_path: Path) -> None:
    page = context.new_page()
    with serving(models, MEASUREMENTS_URL=f"sqlite:///{tmp_path}/measurements.sqlite3") as url:
        page.goto(f"{url}/healthz")
        runs = call(
            page,
            """const device = await fw.probeDevice();
            const model = await fw.loadModel(argument, { dtype: "q4", backend: "wasm", contextLength: 256 });
            for await (const piece of model.generate("Once upon a time", { maxNewTokens: 24 })) void piece;
            await fw.shareRun(model.receipt, device);
            await fw.shareRun(model.receipt, device);
            return fw.listRuns();""",
            manifest_url(url, SMOLLM2),
        )
        digest = json.loads(urllib.request.urlopen(f"{url}/api/measurements").read())
    assert [run["shared"] for run in runs] == [True]
    measured, predicted = runs[0]["measured"], runs[0]["predicted"]
    assert measured["decode_tokens_per_s"] > 0
    assert predicted["decode_tokens_per_s"]["expected"] > 0
    assert digest["count"] == 1
    assert digest["groups"][0]["device"]["browser"] == "chromium"


def test_texts_that_an_encoder_reads_leave_receipts(context: BrowserContext, models: Path, tmp_path: Path) -> None:
    page = context.new_page()
    with serving(models, MEASUREMENTS_URL=f"sqlite:///{tmp_path}/measurements.sqlite3") as url:
        page.goto(f"{url}/healthz")
        runs = call(
            page,
            """let device = await fw.probeDevice();
            const model = await fw.loadModel(argument, { dtype: "q8", backend: "wasm", threads: 1 });
            const text = (words) => Array.from({ length: words }, (_, at) => ["sea", "wind", "ship"][at % 3]).join(" ");
            const sizes = [[text(14)], [text(14)], [text(126)], Array(8).fill(text(126)), ["Hi"]];
            for (const texts of sizes) await model.embed(texts);
            await fw.shareRun(model.receipt, device);
            return fw.listRuns();""",
            manifest_url(url, MINILM),
        )
        digest = json.loads(urllib.request.urlopen(f"{url}/api/measurements").read())
        page.goto(f"{url}/devices")
        expect(page.get_by_test_id("accuracy")).to_contain_text("Reading of texts")
        expect(page.get_by_test_id("groups").locator("tbody tr")).to_contain_text(MINILM)
    assert [(run["texts"], run["prompt_tokens"]) for run in runs] == [(1, 16), (1, 128), (8, 1024)]
    for run in runs:
        latency = run["measured"]["time_to_first_token_s"]
        assert latency == pytest.approx(run["prompt_tokens"] / run["measured"]["prefill_tokens_per_s"])
        low, high = run["predicted"]["time_to_first_token_s"]["interval"]
        assert 0 < low < high
        assert run["measured"]["decode_tokens_per_s"] is None
    raws = [run["raw"]["time_to_first_token_s"] for run in runs]
    assert raws[0] < raws[1] < raws[2]
    assert digest["accuracy"]["encode_s"]["count"] == 1
    assert digest["accuracy"]["time_to_first_token_s"] is None
    assert len(digest["points"]) == 1


def test_page_weighs_every_model(page: Page, base_url: str, models: Path) -> None:
    page.goto(base_url)
    expect(page.get_by_test_id("device-speed")).to_contain_text("GB/s", timeout=60_000)
    expect(page.get_by_test_id("device-class")).to_contain_text(re.compile("Carries up to [a-z]+weights"))
    plot = page.get_by_test_id("size-plot").get_by_role("img")
    expect(plot).to_have_accessible_name(re.compile(r"SmolLM2.*writes [\d.]+ tokens a second"))
    cards = page.locator(".model")
    for index in range(cards.count()):
        expect(cards.nth(index).locator(".verdict-text")).to_contain_text("here:")
    expect(page.get_by_test_id(f"model-card-{SMOLLM2}").locator(".verdict-why")).to_contain_text("The next larger, q8")
    page.get_by_test_id("model-sort").select_option("download")
    sizes = cards.locator(".open").all_text_contents()
    assert sizes == sorted(sizes, key=lambda text: float(text.split()[1]))
    with page.expect_download() as download:
        page.get_by_test_id("profile-button").click()
    assert json.loads(download.value.path().read_text())["format"] == "featherweight-device"
    page.get_by_test_id(f"download-button-{MINILM}").click()
    page.get_by_test_id("search-button").click()
    receipt = page.get_by_test_id("receipt")
    expect(receipt).to_contain_text(re.compile(r"8 texts, \d+ tokens: .* s, expected .* s \(\d+ % off\)"))
    page.get_by_test_id("search-query").fill(
        "Where can I leave my backpack while I look at the pictures in the upper galleries?"
    )
    page.get_by_test_id("search-button").click()
    expect(receipt).to_contain_text(re.compile(r"half of \d+ runs were at most \d+ % off"))
