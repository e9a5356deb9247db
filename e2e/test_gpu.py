"""WebGPU in a real browser, on its software renderer: named as such and not measured; the meter itself works on it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from e2e.conftest import FLAGS, SMOLLM2, chromium_path

SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]


@pytest.fixture(scope="module")
def gpu_browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=[*FLAGS, *SOFTWARE_GPU])
    yield browser
    browser.close()


@pytest.fixture
def gpu_page(gpu_browser: Browser, base_url: str) -> Iterator[Page]:
    context = gpu_browser.new_context()
    page = context.new_page()
    page.goto(f"{base_url}/healthz")
    if not page.evaluate("navigator.gpu?.requestAdapter().then(Boolean) ?? false"):
        pytest.skip("this Chromium has no software renderer for WebGPU")
    yield page
    context.close()


def test_a_software_renderer_is_named_and_not_measured(gpu_page: Page, base_url: str) -> None:
    gpu_page.goto(base_url)
    expect(gpu_page.get_by_test_id("device-graphics")).to_have_text("WebGPU in software")
    expect(gpu_page.get_by_test_id("device-speed")).to_contain_text("GB/s", timeout=60_000)
    assert gpu_page.evaluate("JSON.parse(localStorage.getItem('featherweight.rates')).rates.gpu") is None
    card = gpu_page.get_by_test_id(f"model-card-{SMOLLM2}")
    expect(card).to_contain_text("tokens a second", timeout=60_000)  # of the processor
    expect(card).to_contain_text("Its WebGPU is a software renderer")


def test_the_meter_measures_what_an_adapter_does(gpu_page: Page) -> None:
    rates = gpu_page.evaluate(
        """async () => {
          const { GpuMeter } = await import("/static/device/gpu_meter.js");
          const meter = await GpuMeter.open(await navigator.gpu.requestAdapter());
          const clock = () => performance.now();
          const rates = await meter.measure(50, clock() + 200000, clock, 1);
          const late = await meter.measure(50, clock(), clock).catch(({ code }) => code);
          meter.close();
          return { rates, late };
        }"""
    )
    for name, (least, most) in {
        "call_s": (1e-6, 600),
        "bytes_per_s": (1e3, 1e13),
        "macs_per_s": (1e2, 1e14),
    }.items():
        assert least < rates["rates"][name] < most, name
    assert 0 <= rates["rates"]["step_s"] < 60
    assert rates["late"] == "device_lost"
