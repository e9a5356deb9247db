"""A tab that is really killed: the next visit says at which step, and plans smaller."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Locator, Page, expect

from e2e.conftest import MINILM, SMOLLM2, serving


def slowly(app: Any) -> Any:
    """Let every shard's answer wait, so that a load can be killed in its middle."""

    def layer(environ: dict[str, Any], start_response: Any) -> Any:
        if "onnx_data" in environ["PATH_INFO"]:
            time.sleep(0.5)
        return app(environ, start_response)

    return layer


@pytest.fixture(scope="module")
def slow_url(models: Path) -> Iterator[str]:
    with serving(models, wrap=slowly) as url:
        yield url


def kill(page: Page) -> None:
    """End the page's process where it is: like one that the system kills for its memory, it hears nothing of it."""
    with page.expect_event("crash"), suppress(Error):
        page.goto("chrome://crash", timeout=10_000)
    page.close()


def card_of(page: Page, model: str) -> Locator:
    return page.get_by_test_id(f"model-card-{model}")


def step_told(card: Locator) -> str:
    card.locator(".problem-details summary").click()
    return card.locator(".problem-details p").inner_text().split('"')[1]


def test_death_while_loading_and_in_the_first_run(context: BrowserContext, slow_url: str) -> None:
    page = context.new_page()
    page.goto(slow_url)
    page.get_by_test_id(f"download-button-{SMOLLM2}").click()
    expect(card_of(page, SMOLLM2).get_by_test_id("progress")).to_be_visible()
    other = context.new_page()
    other.goto(slow_url)
    expect(other.get_by_test_id(f"download-button-{SMOLLM2}")).to_be_visible()
    expect(card_of(other, SMOLLM2)).not_to_contain_text("did not finish")  # the tab that loads it lives
    other.close()
    kill(page)

    page = context.new_page()
    page.goto(slow_url)
    card = card_of(page, SMOLLM2)
    expect(card).to_contain_text("did not finish last time")
    expect(card).to_contain_text("keeps to 4,096 tokens of context")
    assert step_told(card) == "allocating and downloading"
    card.get_by_test_id("retry-button").click()
    expect(page.get_by_test_id("chat-input")).to_be_editable(timeout=120_000)
    page.get_by_test_id("chat-input").fill("Tell me of the sea. " * 100)
    page.get_by_test_id("send-button").click()
    kill(page)

    page = context.new_page()
    page.goto(slow_url)
    card = card_of(page, SMOLLM2)
    expect(card).to_contain_text("keeps to 2,048 tokens of context")
    assert step_told(card) == "first run"
    page.reload()  # said once
    expect(page.get_by_test_id(f"download-button-{SMOLLM2}")).to_be_visible()
    expect(card_of(page, SMOLLM2)).not_to_contain_text("did not finish")


def test_an_encoder_that_died_is_planned_as_a_smaller_variant(context: BrowserContext, slow_url: str) -> None:
    page = context.new_page()
    page.goto(slow_url)
    page.get_by_test_id(f"dtype-select-{MINILM}").select_option("fp32")
    page.get_by_test_id(f"download-button-{MINILM}").click()
    expect(card_of(page, MINILM).get_by_test_id("progress")).to_be_visible()
    kill(page)

    page = context.new_page()
    page.goto(slow_url)
    expect(card_of(page, MINILM)).to_contain_text("takes the smaller variant, q8")
    expect(page.get_by_test_id(f"dtype-select-{MINILM}")).to_have_value("q8")
    card_of(page, MINILM).get_by_test_id("retry-button").click()
    expect(page.get_by_test_id("search-button")).to_be_visible(timeout=120_000)


def test_leaving_on_purpose_is_no_death(context: BrowserContext, slow_url: str) -> None:
    page = context.new_page()
    page.goto(slow_url)
    page.get_by_test_id(f"download-button-{SMOLLM2}").click()
    expect(card_of(page, SMOLLM2).get_by_test_id("progress")).to_be_visible()
    page.goto(slow_url)
    expect(page.get_by_test_id(f"download-button-{SMOLLM2}")).to_be_visible()
    expect(card_of(page, SMOLLM2)).not_to_contain_text("did not finish")
