"""Reads the text files that commands are given."""

from pathlib import Path

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
