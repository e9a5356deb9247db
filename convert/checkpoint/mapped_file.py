"""Owns one read-only memory-mapped file and gives its pages back after use."""

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.errors import BadCheckpoint

FAULT_BYTES = 2 << 20
"""Touching one byte may map this much around it: systems keep files in memory in pieces of up to 2 MiB."""


class MappedFile:
    """A file mapped for reading; what is read is resident only until it is released."""

    def __init__(self, path: Path) -> None:
        """Map ``path``; raises BadCheckpoint when it is not a readable file or is empty."""
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise BadCheckpoint(f"{path}: is empty; fetch the file again") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadCheckpoint(f"{path}: cannot be read ({reason}); check the file and its permissions") from error
        self.size_bytes = len(self._map)

    def view(self, offset: int, size_bytes: int) -> NDArray[np.uint8]:
        """The bytes at ``offset``, not copied: drop the array, then call release."""
        if not 0 <= offset <= offset + size_bytes <= self.size_bytes:
            raise ValueError(f"bytes {offset} to {offset + size_bytes} of {self.size_bytes}")
        return np.frombuffer(self._map, np.uint8, size_bytes, offset)

    def release(self, offset: int, size_bytes: int) -> None:
        """Let the system take the pages around these bytes back; a later view reads them from the file again."""
        if size_bytes and hasattr(self._map, "madvise"):
            start = offset - offset % FAULT_BYTES
            end = -(-(offset + size_bytes) // FAULT_BYTES) * FAULT_BYTES
            self._map.madvise(mmap.MADV_DONTNEED, start, min(end, self.size_bytes) - start)

    def close(self) -> None:
        """Unmap the file; a view that is still held keeps the mapping alive until it is dropped."""
        try:
            self._map.close()
        except BufferError:
            return
