"""Delivery in a real browser: both persistent stores, a tab that dies, two tabs, damage, quota, plain http."""

import contextlib
import hashlib
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Error, Playwright

from e2e.conftest import wait_until
from e2e.delivery_tab import CallFailed, Profile, Tab, WrongStore, open_tab
from e2e.model_server import CHUNK, SHARD, ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    model = ModelServer()
    http = model.start()
    yield model
    http.shutdown()
    http.server_close()


@pytest.fixture
def profile(playwright: Playwright, tmp_path: Path) -> Profile:
    return Profile(playwright, tmp_path / "profile")


@pytest.fixture
def context(profile: Profile) -> Iterator[BrowserContext]:
    context = profile.launch()
    yield context
    context.close()


def fetch_half(tab: Tab, server: ModelServer) -> int:
    """Begin a download that stops in the middle: how many bytes the store holds then.

    Of 9 chunks sent, the four connections may each have one unfinished.
    """
    server.sent_limit = 9 * CHUNK
    tab.begin("fetch")
    wait_until(lambda: tab.call("status")["presentBytes"] >= 5 * CHUNK, "half of the model stored")
    return tab.call("status")["presentBytes"]


def check_files(tab: Tab, server: ModelServer) -> None:
    for path, data in server.contents.items():
        assert tab.call("hash", path) == hashlib.sha256(data).hexdigest()


persistent = pytest.mark.parametrize("kind", ["opfs", "cache"])


@persistent
def test_second_visit_fetches_nothing(context: BrowserContext, server: ModelServer, kind: str) -> None:
    tab = open_tab(context, server, kind)
    result = tab.call("fetch")
    assert result["networkBytes"] == server.total_bytes == server.sent_bytes
    check_files(tab, server)
    assert tab.call("usage") == {"usedBytes": server.total_bytes}
    tab.page.close()

    tab = open_tab(context, server, kind)
    assert tab.call("status") == {
        "presentBytes": server.total_bytes,
        "totalBytes": server.total_bytes,
        "complete": True,
    }
    result = tab.call("fetch")
    assert result["networkBytes"] == 0
    assert result["last"]["storedBytes"] == server.total_bytes
    assert server.sent_bytes == server.total_bytes
    check_files(tab, server)


@persistent
@pytest.mark.parametrize("death", ["reload", "tab", "browser"])
def test_resumes_after_death(profile: Profile, server: ModelServer, kind: str, death: str) -> None:
    """Whatever was killed, what the store had said that it holds is there."""
    context = profile.launch()
    tab = open_tab(context, server, kind)
    stored = fetch_half(tab, server)
    browser, renderers = profile.processes()
    if death == "reload":
        tab.page.reload()
    else:
        for process in renderers if death == "tab" else [browser]:
            process.kill()
    if death == "browser":
        browser.wait()
        with contextlib.suppress(Error):
            context.close()
        context = profile.launch()
    else:
        tab.page.close()
    server.sent_limit = math.inf

    try:
        tab = open_tab(context, server, kind)
    except WrongStore as wrong:
        # Chromium's cache sometimes answers nobody any more after the death of a tab, until the browser restarts.
        if (kind, death, wrong.kind) != ("cache", "tab", "memory"):
            raise
        context.close()
        context = profile.launch()
        tab = open_tab(context, server, kind)
    present = tab.call("status")["presentBytes"]
    assert stored <= present < server.total_bytes
    assert tab.call("fetch")["networkBytes"] == server.total_bytes - present
    check_files(tab, server)
    context.close()


def test_resumes_after_cut(context: BrowserContext, server: ModelServer) -> None:
    """Each cut loses at most the unfinished chunk."""
    cut = 2 * CHUNK + 700_000
    server.cut_after = [5000, cut, cut, cut]  # the first file is small and arrives whole
    tab = open_tab(context, server, "opfs")
    tab.begin("fetch", {"connections": 1})
    for chunks in (2, 4, 6):
        wait_until(lambda least=5000 + chunks * CHUNK: tab.call("status")["presentBytes"] >= least, f"{chunks} stored")
        server.cut_now.release()
    tab.end()
    check_files(tab, server)
    for (before, _), (after, _) in itertools.pairwise(server.ranges[1:5]):
        assert after >= before + cut - CHUNK


@persistent
def test_abort_keeps_what_arrived(context: BrowserContext, server: ModelServer, kind: str) -> None:
    tab = open_tab(context, server, kind)
    stored = fetch_half(tab, server)
    tab.call("abort")
    with pytest.raises(CallFailed) as failure:
        tab.end()
    assert failure.value.code == "aborted"
    present = tab.call("status")["presentBytes"]
    assert stored <= present < server.total_bytes
    server.sent_limit = math.inf
    assert tab.call("fetch")["networkBytes"] == server.total_bytes - present
    check_files(tab, server)


@persistent
def test_rejects_flipped_byte_from_server(context: BrowserContext, server: ModelServer, kind: str) -> None:
    server.flip.add((SHARD, 4 * CHUNK + 77))
    tab = open_tab(context, server, kind)
    with pytest.raises(CallFailed, match="chunk 4") as failure:
        tab.call("fetch")
    assert failure.value.code == "integrity"
    server.flip.clear()
    tab.call("fetch")
    check_files(tab, server)


@persistent
def test_repairs_damage_in_the_store(context: BrowserContext, server: ModelServer, kind: str) -> None:
    tab = open_tab(context, server, kind)
    tab.call("fetch")
    tab.call("corrupt", SHARD, 2)
    before = server.sent_bytes
    check_files(tab, server)
    assert server.sent_bytes - before == CHUNK
    check_files(tab, server)
    assert server.sent_bytes - before == CHUNK


def test_distrusts_record_of_shortened_data(context: BrowserContext, server: ModelServer) -> None:
    tab = open_tab(context, server, "opfs")
    tab.call("fetch")
    tab.call("shorten", SHARD, 5 * CHUNK + 1)
    lost = len(server.contents[SHARD]) - 5 * CHUNK
    assert tab.call("status")["presentBytes"] == server.total_bytes - lost
    assert tab.call("fetch")["networkBytes"] == lost
    check_files(tab, server)


@persistent
@pytest.mark.parametrize("asked", [True, False])
def test_rejects_too_small_quota(context: BrowserContext, server: ModelServer, kind: str, asked: bool) -> None:
    """Asked first: not a byte is fetched. Met while writing (another page took the space): the same code."""
    tab = open_tab(context, server, kind)
    session = context.new_cdp_session(tab.page)
    origin = f"http://127.0.0.1:{server.port}"
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin, "quotaSize": 6 * CHUNK})
    with pytest.raises(CallFailed) as failure:
        tab.call("fetch", {"askQuota": asked})
    assert failure.value.code == "quota"
    if asked and kind == "opfs":  # the Cache API offers no trial, and Chromium's estimate is a constant
        assert server.sent_bytes == 0
        assert failure.value.details["neededBytes"] == server.total_bytes
        assert re.search(r"12\.\d MB are needed, .* [5-6]\.\d MB more", failure.value.message)
    session.send("Storage.overrideQuotaForOrigin", {"origin": origin})
    tab.call("fetch")
    check_files(tab, server)


def test_removes_what_a_dead_trial_left(context: BrowserContext, server: ModelServer) -> None:
    tab = open_tab(context, server, "opfs")
    tab.call("litter", 3 * CHUNK)
    assert tab.call("names") == ["trials"]
    assert open_tab(context, server, "opfs").call("names") == []


@persistent
def test_two_tabs_share_one_download(context: BrowserContext, server: ModelServer, kind: str) -> None:
    tabs = [open_tab(context, server, kind) for _ in range(2)]
    server.pause_s = 0.02
    for tab in tabs:
        tab.begin("fetch")
    results = [tab.end() for tab in tabs]
    assert sum(result["networkBytes"] for result in results) == server.total_bytes == server.sent_bytes
    for result in results:
        assert result["last"]["loadedBytes"] == server.total_bytes
    check_files(tabs[1], server)


@persistent
def test_file_in_use(context: BrowserContext, server: ModelServer, kind: str) -> None:
    """Removing does not wait; waiting ends when the holder does nothing; the death of the holder frees the file."""
    holder, other = (open_tab(context, server, kind) for _ in range(2))
    holder.call("fetch")
    holder.call("hold", SHARD)
    with pytest.raises(CallFailed, match="in use in another tab"):
        other.call("remove")
    with pytest.raises(CallFailed, match="makes no progress") as failure:
        other.call("lock", SHARD, 100)
    assert failure.value.code == "store"
    holder.page.close()
    assert other.call("hash", SHARD) == hashlib.sha256(server.contents[SHARD]).hexdigest()
    other.call("remove")
    assert other.call("list") == []
    assert other.call("usage") == {"usedBytes": 0}


def test_plain_http_still_verifies(context: BrowserContext, server: ModelServer) -> None:
    """Over http from another machine there is neither storage nor crypto.subtle: memory, and our own SHA-256."""
    tab = open_tab(context, server, "memory", host="elsewhere.test")
    assert tab.page.evaluate("isSecureContext") is False
    assert tab.call("fetch")["networkBytes"] == server.total_bytes
    check_files(tab, server)
    server.flip.add((SHARD, 1))
    tab = open_tab(context, server, "memory", host="elsewhere.test")
    with pytest.raises(CallFailed, match="chunk 0"):
        tab.call("fetch")


def test_offline_says_so(context: BrowserContext, server: ModelServer) -> None:
    tab = open_tab(context, server, "opfs")
    context.set_offline(True)
    with pytest.raises(CallFailed) as failure:
        tab.call("fetch")
    assert failure.value.code == "network"
    assert "offline" in failure.value.message
    context.set_offline(False)
    tab.call("fetch")
    check_files(tab, server)


def test_page_thread_gets_the_cache_store(context: BrowserContext, server: ModelServer) -> None:
    """Synchronous file access exists in workers only."""
    tab = open_tab(context, server, "opfs")
    kind = tab.page.evaluate("import('/static/delivery/store/store.js').then(async (m) => (await m.openStore()).kind)")
    assert kind == "cache"
