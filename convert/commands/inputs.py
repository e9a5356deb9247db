"""Reads what commands are given: text files and sizes."""

import re
from pathlib import Path

import click

from convert.errors import SourceNotFound


def read_text(path: Path, characters: int = -1) -> str:
    """The first ``characters`` of a UTF-8 file, all of them by default; raises SourceNotFound."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(characters)
    except OSError as error:
        raise SourceNotFound(f"{path}: cannot be read ({error.strerror}); give a UTF-8 text file") from error
    except UnicodeDecodeError as error:
        raise SourceNotFound(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes of a size such as "70MB" or "1.5 GiB"; for click."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kKMG]?i?B)", value.strip())
    if match is None or match[2] not in _UNITS:
        raise click.BadParameter(f"{value!r} is no size; write a number and one of {', '.join(_UNITS)}")
    return int(float(match[1]) * _UNITS[match[2]])
