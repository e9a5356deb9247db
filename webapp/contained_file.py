"""Owns the way from a relative path to a regular file inside one directory, and never to one outside of it."""

import os
import stat
from pathlib import Path


def find_contained(root: Path, path: str) -> tuple[Path, os.stat_result] | None:
    """The regular file ``path`` below ``root`` (absolute, links followed) with its status; links are followed.

    None when it is missing, not a regular file, hidden, outside of ``root`` or no path at all.
    """
    if "\\" in path or any(part.startswith(".") for part in path.split("/")):
        return None
    try:
        file = Path(os.path.realpath(root.joinpath(path), strict=True))
        status = file.stat()
    except (OSError, ValueError):  # missing, too long, a loop of links; a NUL byte
        return None
    return (file, status) if file.is_relative_to(root) and stat.S_ISREG(status.st_mode) else None
