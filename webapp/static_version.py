"""Owns the name of the browser half as it is now: under an address with it, browsers may keep its files for ever."""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VERSION_LENGTH = 16


@dataclass(frozen=True, slots=True)
class StaticVersion:
    """All files of the browser half at one moment."""

    name: str
    """16 hexadecimal digits that change with any of the files."""
    etags: Mapping[str, str]
    """By path."""


def file_etag(status: os.stat_result) -> str:
    """A strong validator: an edit changes the time, the size or both."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def static_version(root: Path) -> StaticVersion:
    """The version of the files below ``root``; folders that are links are left out."""
    etags = {}
    for file in root.rglob("*"):
        try:
            status = file.stat()
        except OSError:  # removed meanwhile, or a link to nothing
            continue
        if stat.S_ISREG(status.st_mode):
            etags[file.relative_to(root).as_posix()] = file_etag(status)
    digest = hashlib.sha256(repr(sorted(etags.items())).encode())
    return StaticVersion(digest.hexdigest()[:VERSION_LENGTH], etags)


def split_version(path: str) -> tuple[str | None, str]:
    """The version that ``path`` begins with, None without one, and the path of the file."""
    first, _, rest = path.partition("/")
    named = len(first) == VERSION_LENGTH and set(first) <= set("0123456789abcdef")
    return (first, rest) if named else (None, path)
