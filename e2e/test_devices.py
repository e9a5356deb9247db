"""The page of shared measurements in a real browser: empty, filled, and safe from what receipts hold."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from e2e.conftest import serving
from tests.webapp.receipts import honest_receipt


def post(url: str, row: dict[str, Any], speed: float) -> None:
    model = {
        "id": row["id"],
        "revision": row["manifest_url"].split("/")[-2],
        "dtype": row["variants"][0]["dtype"],
    }
    receipt = honest_receipt(model, [80, 100, 120], {"decode_tokens_per_s": speed})
    request = urllib.request.Request(
        f"{url}/api/measurements", json.dumps(receipt).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.status == 201


def test_devices_page_shows_what_was_shared(page: Page, models: Path, tmp_path: Path) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    with serving(models, MEASUREMENTS_URL=f"sqlite:///{tmp_path}/measurements.sqlite3") as url:
        page.goto(f"{url}/devices")
        expect(page.get_by_test_id("devices-state")).to_have_text("Nothing has been shared yet.")
        row = json.loads(urllib.request.urlopen(f"{url}/api/models").read())[0]
        for speed in (90.0, 110.0, 200.0):
            post(url, row, speed)
        page.reload()
        expect(page.get_by_test_id("devices-state")).to_have_text("3 runs so far.")
        group = page.get_by_test_id("groups").locator("tbody tr")
        expect(group).to_have_count(1)
        expect(group).to_contain_text(row["id"])
        expect(group).to_contain_text("110")
        expect(page.get_by_test_id("accuracy")).to_contain_text("67 % of 3 runs inside")
        expect(page.locator(".uplot canvas")).to_have_count(2)
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        assert len(download.value.path().read_text().splitlines()) == 4
    assert problems == []
