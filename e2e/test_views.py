"""What the page shows for each task, with real conversions of tiny checkpoints, and that everyone can use it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from convert.dtypes import Dtype
from e2e.conftest import ROOT, serving
from tests import model_directories

expect.set_options(timeout=120_000)
AXE = ROOT / "node_modules/axe-core/axe.min.js"
VIEWS = {
    "label-tokens": "bert-token-classification",
    "find-answer": "albert-question-answering",
    "fill-gap": "roberta-fill-mask",
    "rewrite": "t5-text2text-generation",
    "go-on": "decoder",
}
SIZES = [(390, 844), (1440, 900)]
LARGEST_LAYOUT_SHIFT = 0.02
LINES = ["w3 w1 w4 w15 w9 w26", "", "w5 w35"]
PASSAGE, QUESTION = "w5 w35 w8 w9 w7 w93 w2", "w3 w1 w4"
WATCH = """
  window.layoutShift = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.layoutShift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("views")
    for name in VIEWS.values():
        if name == "decoder":
            model_directories.decoder(root, Dtype.FP32)
        else:
            family, task = name.split("-", 1)
            model_directories.stored(root, family, task, Dtype.FP32)
    with serving(root) as address:
        yield address


def open_view(page: Page, url: str, view: str) -> None:
    page.goto(url)
    page.get_by_test_id(f"download-button-{VIEWS[view]}").click()
    expect(page.get_by_test_id(f"{view}-button")).to_be_visible()


def fill_in(page: Page, view: str) -> None:
    if view == "label-tokens":
        page.get_by_test_id("label-tokens-text").fill("\n".join(LINES))
    elif view == "find-answer":
        page.get_by_test_id("find-answer-passage").fill(PASSAGE)
        page.get_by_test_id("find-answer-question").fill(QUESTION)
    elif view == "fill-gap":
        page.get_by_test_id("fill-gap-text").fill("w3 w1 [MASK] w15")
    else:
        page.get_by_test_id(f"{view}-text").fill("w3 w1 w4 w15")
        for setting, value in (("temperature", "2"), ("top-p", "1"), ("max-new-tokens", "12"), ("seed", "1")):
            page.get_by_test_id(setting).evaluate(
                "(box, value) => { box.value = value; }", value
            )  # on phones it is folded


def run(page: Page, view: str) -> None:
    page.get_by_test_id(f"{view}-button").click()
    expect(page.get_by_test_id(f"{view}-results")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_test_id(f"{view}-state")).not_to_be_empty()


def test_labels_are_marked_where_they_stand(page: Page, url: str) -> None:
    open_view(page, url, "label-tokens")
    fill_in(page, "label-tokens")
    run(page, "label-tokens")
    text = page.get_by_test_id("labelled-text")
    marks = text.locator("mark")
    assert marks.count() > 1
    shown = text.inner_text()
    for name in text.locator(".labelled-name").all_inner_texts():
        shown = shown.replace(f"\N{NO-BREAK SPACE}{name}", "", 1)
    assert [line.split() for line in shown.split("\n")] == [line.split() for line in LINES]
    legend = page.get_by_test_id("label-legend").locator("li")
    counts = [int(item.split()[-1]) for item in legend.all_text_contents()]
    assert sum(counts) == marks.count()
    colours = legend.locator(".labelled").evaluate_all(
        "(items) => items.map((item) => getComputedStyle(item).borderBottomColor)"
    )
    assert len(set(colours)) == len(colours)
    expect(page.get_by_test_id("label-result").first).to_contain_text("%")


def test_answers_are_marked_and_the_next_best_can_be_chosen(page: Page, url: str) -> None:
    open_view(page, url, "find-answer")
    fill_in(page, "find-answer")
    run(page, "find-answer")
    answers = page.get_by_test_id("answer-result")
    expect(answers.nth(1)).to_be_visible()
    assert 2 <= answers.count() <= 3
    mark = page.get_by_test_id("answer-text").locator("mark")
    for at in (0, 1):
        choice = answers.nth(at).get_by_role("button")
        choice.click()
        expect(choice).to_have_attribute("aria-pressed", "true")
        expect(mark).to_have_text(choice.inner_text())
    expect(page.get_by_test_id("answer-text")).to_have_text(PASSAGE)
    expect(page.get_by_test_id("find-answer-state")).to_contain_text("%")


def test_gaps_are_put_in_and_filled(page: Page, url: str) -> None:
    open_view(page, url, "fill-gap")
    text = page.get_by_test_id("fill-gap-text")
    text.fill("w3 w1")
    run(page, "fill-gap")
    expect(page.get_by_test_id("fill-gap-state")).to_contain_text("Put a gap into the text")
    page.get_by_test_id("insert-gap").click()
    expect(text).to_have_value("w3 w1[MASK]")
    text.press_sequentially(" w15")
    expect(text).to_have_value("w3 w1[MASK] w15")
    page.get_by_test_id("fill-gap-count").select_option("10")
    run(page, "fill-gap")
    fillings = page.get_by_test_id("filling")
    expect(fillings).to_have_count(10)
    scores = fillings.locator("[data-score]").evaluate_all("(items) => items.map((item) => Number(item.dataset.score))")
    assert scores == sorted(scores, reverse=True)
    word = fillings.first.locator("mark").inner_text()
    expect(fillings.first.locator(".result-text")).to_have_text(f"w3 w1{word} w15")
    text.fill("[MASK] [MASK]")
    run(page, "fill-gap")
    expect(page.get_by_test_id("fill-gap-state")).to_contain_text("One gap at a time")
    expect(fillings).to_have_count(0)


@pytest.mark.parametrize("view", ["rewrite", "go-on"])
def test_texts_are_written(page: Page, url: str, view: str) -> None:
    open_view(page, url, view)
    expect(page.get_by_test_id("system-prompt")).to_be_hidden()
    fill_in(page, view)
    run(page, view)
    expect(page.get_by_test_id(f"{view}-state")).to_contain_text("Done")
    written = page.get_by_test_id("written")
    expect(written).to_contain_text("w")
    expect(page.get_by_test_id("stat-decode")).to_contain_text("tokens/s")
    if view == "go-on":
        assert written.inner_text().startswith("w3 w1 w4 w15")


def test_settings_out_of_range_are_shown(page: Page, url: str) -> None:
    open_view(page, url, "rewrite")
    page.get_by_test_id("temperature").fill("9")
    run(page, "rewrite")
    expect(page.get_by_test_id("rewrite-state")).to_have_text("A setting is out of its range.")


@pytest.mark.parametrize("view", VIEWS)
def test_views_need_no_mouse_and_move_nothing(context: BrowserContext, url: str, view: str) -> None:
    context.add_init_script(WATCH)
    page = context.new_page()
    open_view(page, url, view)
    fill_in(page, view)
    page.evaluate("window.layoutShift = 0")
    for _ in range(12):
        if page.evaluate("document.activeElement.dataset.testid") == f"{view}-button":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id(f"{view}-state")).not_to_be_empty()
    expect(page.get_by_test_id(f"{view}-results")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_test_id(f"{view}-button")).to_be_focused()
    expect(page.locator("#announcer")).not_to_be_empty()
    assert page.evaluate("window.layoutShift") < LARGEST_LAYOUT_SHIFT


def test_everyone_can_use_every_view(browser: Browser, url: str) -> None:
    assert AXE.exists(), "node_modules/axe-core is missing: run `make setup` or `npm ci`"
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(120_000)
    page = context.new_page()
    found = {}
    page.goto(url)
    expect(page.get_by_test_id("device-speed")).not_to_have_text("not measured yet")
    found |= violations(page, "first")
    for view in VIEWS:
        open_view(page, url, view)
        fill_in(page, view)
        run(page, view)
        found |= violations(page, view)
    page.goto(f"{url}/devices")
    found |= violations(page, "devices")
    context.close()
    assert found == {}


def violations(page: Page, view: str) -> dict[str, str]:
    """Rules of axe that the page breaks on a phone and on a desk, by day and by night, and what breaks them."""
    found = {}
    page.evaluate(AXE.read_text())  # not as a script element: the content security policy forbids those
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            result = page.evaluate("() => axe.run()")
            assert len(result["passes"]) > 10
            for item in result["violations"]:
                found[f"{view} {width} {scheme} {item['id']}"] = item["nodes"][0]["html"][:120]
    return found
