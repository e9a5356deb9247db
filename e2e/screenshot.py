"""Makes the README's picture: the page on a first visit, with the bundled models weighed (docs/screenshot.png).

python -m e2e.screenshot      prints the speed that the picture shows: take it on a quiet machine
"""

from playwright.sync_api import expect, sync_playwright

from e2e.conftest import FLAGS, MINILM, MODELS, ROOT, SMOLLM2, chromium_path, serving

SIZE = {"width": 1280, "height": 860}


def main() -> None:
    with serving(MODELS) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        page.goto(url)
        expect(page.get_by_test_id("device-class")).to_contain_text("Carries", timeout=60_000)
        for name in (SMOLLM2, MINILM):
            expect(page.get_by_test_id(f"model-card-{name}")).to_contain_text(" here: ")
        expect(page.get_by_test_id("size-plot").get_by_role("img")).to_be_visible()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=ROOT / "docs/screenshot.png")
        print(page.get_by_test_id("device-speed").inner_text())
        browser.close()


if __name__ == "__main__":
    main()
