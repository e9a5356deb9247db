"""Owns the stream that a response body is read from: one range of a file, opened late and read in bounded pieces."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

READ_BYTES = 256 << 10
"""Most bytes that one read gives, however many are asked for."""


def open_exactly(file: Path, size_bytes: int) -> BinaryIO:
    """Open ``file`` for reading; raises OSError when it cannot be opened or is not ``size_bytes`` long."""
    stream = io.FileIO(file)
    if os.fstat(stream.fileno()).st_size != size_bytes:
        stream.close()
        raise OSError(f"{file} changed while it was served")
    return cast(BinaryIO, stream)


class FileWindow(io.RawIOBase):
    """The bytes ``start`` to ``stop`` of what ``opener`` opens, as a seekable binary stream of its own.

    Made for ``wsgi.file_wrapper``: a server that knows it takes the body over and no thread waits for a slow client.

    - The file is opened at the first read, so answers that are queued, and those that are never sent, hold no handle.
    - A read gives at most READ_BYTES: waitress asks for as much as a socket's send buffer could hold, sends what
      fits and asks for the rest again.
    - A file that ends early, or is not as long as it should be, raises OSError, on which a server drops the
      connection: the client sees a short answer and never wrong bytes.
    """

    def __init__(self, opener: Callable[[], BinaryIO], start: int, stop: int) -> None:
        self._opener = opener
        self._start = start
        self._length = stop - start
        self._position = 0
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can seek: yes."""
        return True

    def tell(self) -> int:
        """Position in the window, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move within the window; returns the new position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = min(max(origin + offset, 0), self._length)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Give the next bytes: at most ``size`` and at most READ_BYTES; empty only at the window's end.

        Raises OSError when the file cannot be opened or ends before the window does.
        """
        left = self._length - self._position
        wanted = min(READ_BYTES, left if size < 0 else min(size, left))
        if wanted == 0:
            return b""
        if self._file is None:
            self._file = self._opener()
        self._file.seek(self._start + self._position)
        data = self._file.read(wanted)
        if not data:
            raise OSError("the file ended before the range that was to be served")
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the file, when it was ever opened."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()
