"""Names, text and JSON that we did not write."""

import pytest

from convert.checkpoint import untrusted
from convert.checkpoint.untrusted import contained_path, parse_json_object, quote, read_small_file
from convert.errors import BadCheckpoint


@pytest.mark.parametrize("name", ["a.json", "1_Pooling/config.json", "missing"])
def test_contained_path_accepts_plain_names(tmp_path, name):
    assert contained_path(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../../b", "..", "a\\b", "C:a", "a\0b"])
def test_contained_path_rejects_ways_out(tmp_path, name):
    with pytest.raises(BadCheckpoint, match="leads outside"):
        contained_path(tmp_path, name)


def test_contained_path_rejects_links_out_and_loops(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "inside" / "file").symlink_to(tmp_path / "secret")
    (tmp_path / "inside" / "folder").symlink_to(tmp_path)
    (tmp_path / "inside" / "loop").symlink_to("loop")
    for name in ("file", "folder/secret"):
        with pytest.raises(BadCheckpoint, match="is a link to a file outside"):
            contained_path(tmp_path / "inside", name)
    with pytest.raises(BadCheckpoint, match="cannot be followed"):
        contained_path(tmp_path / "inside", "loop")


def test_contained_path_accepts_links_inside_and_into_hub_blobs(tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "c0ffee", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1234").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/1234")
    (snapshot / "same.json").symlink_to("config.json")
    assert read_small_file(contained_path(snapshot, "config.json")) == b"{}"
    assert read_small_file(contained_path(snapshot, "same.json")) == b"{}"


def test_quote_is_one_short_printable_line():
    assert quote("a\nb") == r"'a\nb'"
    assert quote("\ud800\x1b[31m").isascii()
    assert len(quote("x" * 10_000)) == 80


def test_read_small_file_rejects_large_and_unreadable_files(tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(b"12345")
    monkeypatch.setattr(untrusted, "JSON_LIMIT_BYTES", 4)
    with pytest.raises(BadCheckpoint, match="is 5 bytes long, expected at most 4"):
        read_small_file(tmp_path / "large")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        read_small_file(tmp_path / "missing")


def test_parse_json_object_accepts_utf8():
    assert parse_json_object('{"ü": [1, null]}'.encode(), "x") == {"ü": [1, None]}
