"""The stream behind every body: bounded reads, late opening, no wrong bytes."""

import io
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from webapp.file_window import READ_BYTES, FileWindow, open_exactly

DATA = bytes(range(256)) * 4096


def test_reads_its_range_in_bounded_pieces() -> None:
    window = FileWindow(partial(io.BytesIO, DATA), 3, len(DATA) - 5)
    pieces = []
    while piece := window.read(len(DATA)):
        assert len(piece) <= READ_BYTES
        pieces.append(piece)
    assert b"".join(pieces) == DATA[3:-5]


def test_seeks_within_its_range() -> None:
    window = FileWindow(partial(io.BytesIO, DATA), 10, 20)
    assert window.seek(0, io.SEEK_END) == 10
    assert window.seek(-3, io.SEEK_CUR) == 7
    assert window.read() == DATA[17:20]
    assert window.seek(99) == window.tell() == 10
    assert window.seek(-1) == 0


def test_opens_at_the_first_read_and_closes(tmp_path: Path) -> None:
    opened: list[BinaryIO] = []
    path = tmp_path / "file"
    path.write_bytes(DATA)

    def opener() -> BinaryIO:
        opened.append(open_exactly(path, len(DATA)))
        return opened[-1]

    with FileWindow(opener, 0, len(DATA)) as window:
        assert not opened
        window.read(1)
        window.read(1)
        assert len(opened) == 1
    assert opened[0].closed


def test_empty_window_opens_nothing() -> None:
    def opener() -> BinaryIO:
        raise AssertionError

    assert FileWindow(opener, 0, 0).read() == b""


def test_rejects_a_file_that_ends_early() -> None:
    window = FileWindow(partial(io.BytesIO, b"abc"), 0, 5)
    assert window.read() == b"abc"
    with pytest.raises(OSError, match="ended before"):
        window.read()


def test_rejects_a_file_of_another_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with pytest.raises(OSError, match="changed"):
        open_exactly(path, 4)
