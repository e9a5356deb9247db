"""The Range header, against plain slicing."""

import pytest

from webapp.byte_ranges import ByteRange, requested_range


@pytest.mark.parametrize("size", range(7))
def test_matches_slicing(size: int) -> None:
    data = bytes(range(size))
    for first in range(9):
        for last in range(first, 9):
            expected = data[first : last + 1]
            got = requested_range(f"bytes={first}-{last}", size)
            assert (data[got.start : got.stop] if isinstance(got, ByteRange) else b"") == expected
            assert (got == "unsatisfiable") == (first >= size)
        open_ended = requested_range(f"bytes={first}-", size)
        assert (data[open_ended.start :] if isinstance(open_ended, ByteRange) else b"") == data[first:]
        suffix = requested_range(f"bytes=-{first}", size)
        assert (data[suffix.start :] if isinstance(suffix, ByteRange) else b"") == (data[-first:] if first else b"")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=5-2",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes =0-1",
        "bytes=0 -1",
        "bytes=0x1-2",
        "bytes=\u0661-\u0662",
        "items=0-1",
        "bytes=0-0,2-3",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_ignores_malformed_foreign_and_multiple(header: str | None) -> None:
    assert requested_range(header, 10) == "whole"


@pytest.mark.parametrize("header", ["Bytes=2-3", " bytes=2-3 ", "bytes= 2-3", "bytes=,2-3,", "bytes=02-03"])
def test_accepts_every_legal_spelling(header: str) -> None:
    assert requested_range(header, 10) == ByteRange(2, 4)


def test_content_range_is_inclusive() -> None:
    assert ByteRange(2, 4).content_range(10) == "bytes 2-3/10"
