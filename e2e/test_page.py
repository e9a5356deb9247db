"""The page as a visitor uses it: weigh-in, download, chat, search and sorting; nothing blocked, nothing shifted."""

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from e2e.conftest import MINILM, SMOLLM2, serving

expect.set_options(timeout=120_000)
LARGEST_LAYOUT_SHIFT = 0.02
LARGEST_SHIFT_OF_A_VISIT = 0.1
LARGEST_BLOCKED_SHARE = 0.2  # on a busy machine; a model that ran on the page's thread would block nearly all
WATCH_SHIFTS = """
  window.layoutShift = 0;
  window.shifted = [];
  new PerformanceObserver((list) => {
    for (const { hadRecentInput, value, sources } of list.getEntries()) {
      if (hadRecentInput) continue;
      window.layoutShift += value;
      window.shifted.push(`${value}: ${sources.map(({ node }) => node?.className || node?.id || node?.nodeName)}`);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
CORPUS = """The cat sat on the windowsill and watched the birds.
Shares fell sharply after the central bank raised interest rates.
Simmer the lentils for twenty minutes and add salt at the end.
The rover sent its first pictures from the surface of Mars."""


class Watched:
    """A page whose console, failed requests and hosts are kept."""

    def __init__(self, context: BrowserContext) -> None:
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        context.add_init_script(WATCH_SHIFTS)
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        self.page = context.new_page()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)


@pytest.fixture
def watched(context: BrowserContext) -> Watched:
    return Watched(context)


def get(page: Page, name: str) -> Locator:
    return page.get_by_test_id(name)


def test_first_visit_weighs_every_model_without_moving_the_page(watched: Watched, base_url: str) -> None:
    page = watched.page
    page.goto(base_url)
    for name in (SMOLLM2, MINILM):
        expect(get(page, f"model-card-{name}")).to_contain_text("Apache 2.0")
        expect(get(page, f"download-button-{name}")).to_have_text(re.compile(r"Download \d+ MB"))
    expect(get(page, "device-processor")).to_contain_text(re.compile(r"\d"))
    page.wait_for_timeout(1000)
    assert page.evaluate("window.layoutShift") < LARGEST_LAYOUT_SHIFT, page.evaluate("window.shifted")
    assert watched.hosts == {urlsplit(base_url).netloc}
    assert watched.problems == []


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (1440, 900)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_its_window(context: BrowserContext, base_url: str, width: int, height: int, scheme: Any) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(base_url)
    expect(get(page, f"download-button-{MINILM}")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_no_part_moves_when_the_next_one_arrives(
    context: BrowserContext, base_url: str, width: int, height: int
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.goto(base_url)
    expect(get(page, f"download-button-{MINILM}")).to_be_visible()
    moved = page.evaluate("""() => {
      const moved = [];
      const parts = [...document.querySelectorAll("#choose > *")];
      const corner = (part) => { const { x, y } = part.getBoundingClientRect(); return `${x} ${y}`; };
      const arrived = parts.map(corner);
      while (parts.length > 1) {
        parts.pop().remove();
        parts.forEach((part, i) => corner(part) === arrived[i] || moved.push(part.className));
      }
      return moved;
    }""")
    assert moved == []


def test_a_phone_shows_the_class_first_and_the_numbers_on_demand(watched: Watched, base_url: str) -> None:
    page = watched.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(base_url)
    expect(get(page, "device-class")).to_contain_text("Carries up to")
    expect(get(page, "device-speed")).to_be_hidden()
    expect(get(page, f"model-card-{SMOLLM2}")).to_contain_text("here:")
    assert page.evaluate("window.layoutShift") < LARGEST_LAYOUT_SHIFT, page.evaluate("window.shifted")
    page.get_by_role("button", name="The numbers behind it").click()
    expect(get(page, "device-speed")).to_be_visible()
    expect(get(page, "device-speed")).to_contain_text("GB/s")


def test_search_and_sorting_rank_by_meaning(watched: Watched, base_url: str) -> None:
    page = watched.page
    page.goto(base_url)
    get(page, f"download-button-{MINILM}").click()
    get(page, "search-corpus").fill(CORPUS)
    get(page, "search-query").fill("space exploration")
    get(page, "search-button").click()
    expect(get(page, "search-result").first).to_contain_text("Mars")
    expect(get(page, "search-result")).to_have_count(4)

    get(page, "tab-classify").click()
    get(page, "classify-texts").fill(CORPUS.splitlines()[1])
    get(page, "classify-labels").fill("finance\ncooking\nanimals")
    get(page, "classify-button").click()
    expect(get(page, "classify-result").first).to_contain_text("finance")

    expect(get(page, "stat-bytes")).to_contain_text("MB")
    expect(get(page, "stat-memory")).to_contain_text("MB")
    assert watched.problems == []

    page.goto(base_url)
    expect(get(page, f"remove-button-{MINILM}")).to_be_visible()


def test_a_long_reading_says_how_far_it_is_and_can_be_stopped(watched: Watched, base_url: str) -> None:
    page = watched.page
    page.goto(f"{base_url}/?model={MINILM}&dtype=q8")
    get(page, f"download-button-{MINILM}").click()
    passages = "\n\n".join(f"{number}. {CORPUS}" for number in range(900))
    get(page, "search-corpus").evaluate("(box, text) => { box.value = text; }", passages)  # typing it takes a minute
    get(page, "search-button").click()
    expect(get(page, "search-state")).to_contain_text(re.compile(r"Reading \d+ of \d+"))
    get(page, "search-stop").click()
    expect(get(page, "search-state")).to_have_text("Stopped.")
    expect(get(page, "search-button")).to_be_visible()
    get(page, "search-corpus").fill(CORPUS)
    get(page, "search-button").click()
    expect(get(page, "search-result")).to_have_count(4)
    assert watched.problems == []


def test_chat_streams_stops_and_goes_on(watched: Watched, base_url: str) -> None:
    page = watched.page
    page.goto(f"{base_url}/?model={SMOLLM2}&dtype=q4")
    get(page, f"download-button-{SMOLLM2}").click()
    expect(get(page, "chat-input")).to_be_editable()
    get(page, "chat-input").fill("Tell me a long story about the sea.")
    get(page, "send-button").click()
    answer = get(page, "message-assistant").last
    expect(answer).to_contain_text(re.compile(r"\w{2}"))
    get(page, "stop-button").click()
    expect(get(page, "send-button")).to_be_visible()
    said = answer.inner_text()
    page.wait_for_timeout(1500)
    assert answer.inner_text() == said
    expect(get(page, "message-user")).to_have_count(1)
    expect(get(page, "stat-decode")).to_contain_text(re.compile(r"\d"))

    get(page, "chat-input").fill("Thank you.")
    get(page, "send-button").click()
    expect(get(page, "message-assistant")).to_have_count(2)
    expect(get(page, "message-assistant").last).to_contain_text(re.compile(r"\w"))
    expect(get(page, "send-button")).to_be_visible()
    assert watched.problems == []


def test_the_page_thread_stays_free_while_a_model_loads_and_writes(watched: Watched, base_url: str) -> None:
    page = watched.page
    page.goto(base_url)
    expect(get(page, "device-class")).to_contain_text("Carries")
    page.evaluate(
        """() => {
          window.blocked = 0;
          const note = (list) => { for (const { duration } of list.getEntries()) window.blocked += duration; };
          new PerformanceObserver(note).observe({ type: "longtask" });
          window.watchedSince = performance.now();
        }"""
    )
    get(page, f"download-button-{SMOLLM2}").click()
    get(page, "chat-input").fill("Tell me a long story about the sea.")
    get(page, "send-button").click()
    expect(get(page, "message-assistant")).to_contain_text(re.compile(r"\w"))
    expect(get(page, "send-button")).to_be_visible()
    # A share, because a busy machine stretches both.
    assert page.evaluate("window.blocked / (performance.now() - window.watchedSince)") < LARGEST_BLOCKED_SHARE
    assert page.evaluate("window.layoutShift") < LARGEST_SHIFT_OF_A_VISIT


def slowly(app: Any) -> Any:
    """Let every shard's answer wait a little."""

    def layer(environ: dict[str, Any], start_response: Any) -> Any:
        if "onnx_data" in environ["PATH_INFO"]:
            time.sleep(0.3)
        return app(environ, start_response)

    return layer


def test_a_cancelled_download_offers_to_resume(watched: Watched, models: Path) -> None:
    page = watched.page
    with serving(models, wrap=slowly) as url:
        page.goto(url)
        card = get(page, f"model-card-{SMOLLM2}")
        get(page, f"download-button-{SMOLLM2}").click()
        expect(card.get_by_test_id("progress")).to_have_attribute("aria-valuenow", re.compile(r"[1-9]"))
        card.get_by_test_id("cancel-button").click()
        expect(get(page, f"download-button-{SMOLLM2}")).to_contain_text("Resume")
        page.reload()
        expect(get(page, f"download-button-{SMOLLM2}")).to_contain_text("Resume")
