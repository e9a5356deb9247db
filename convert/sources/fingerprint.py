"""Owns the SHA-256 of source files, which says in the manifest what a model was made from."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from convert.errors import BadCheckpoint
from convert.progress import Progress

_BUFFER_BYTES = 1 << 20


def file_sha256(path: Path, progress: Progress) -> str:
    """Hex digest of the file; every byte read is reported to ``progress``."""
    digest, buffer = hashlib.sha256(), bytearray(_BUFFER_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
                progress.advance(count)
    except OSError as error:
        raise BadCheckpoint(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error
    return digest.hexdigest()


def directory_sha256(directory: Path, names: Iterable[str], progress: Progress) -> str:
    """Hex digest of the lines ``DIGEST  NAME`` of the named files, sorted by name (what ``sha256sum`` prints)."""
    lines = [f"{file_sha256(directory / name, progress)}  {name}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
