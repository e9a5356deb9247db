"""Owns the journal of a conversion: which shards are finished, so that a run after an interruption keeps them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.shards import FileEntry, hash_file

JOURNAL_NAME = ".finished.jsonl"
_LINE_KEYS = {"path", "sha256", "layout"}


def conversion_key(facts: Any) -> str:
    """16 hex digits that stand for ``facts``, a JSON value: source, options, version, graphs."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Line:
    sha256: str
    layout: str


class Journal:
    """The finished files of one directory in the making; each is hashed again before it counts."""

    def __init__(self, directory: Path) -> None:
        """Read what an earlier run left in ``directory``, and remove every file that it did not finish."""
        self._directory = directory
        self._file = directory / JOURNAL_NAME
        self._lines = self._read()
        for path in directory.rglob("*"):
            finished = str(path.relative_to(directory)) in self._lines and not path.is_symlink()
            if path != self._file and not finished and not (path.is_dir() and not path.is_symlink()):
                path.unlink()

    def reuse(self, path: str, layout: str) -> FileEntry | None:
        """The file ``path``, if it was finished with that layout and its bytes are still those."""
        line, file = self._lines.get(path), self._directory / path
        if line is None or not file.is_file():
            return None
        if line.layout == layout:
            entry = hash_file(file, path)
            if entry.sha256 == line.sha256:
                return entry
        file.unlink()
        return None

    def record(self, entry: FileEntry, layout: str) -> None:
        """Note that ``entry`` is complete."""
        line = {"path": entry.path, "sha256": entry.sha256, "layout": layout}
        with self._file.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")

    def forget(self) -> None:
        """Remove the journal: the directory is complete."""
        self._file.unlink(missing_ok=True)

    def _read(self) -> dict[str, _Line]:
        """Lines by path; a torn one, the last of a run that was killed, does not count."""
        lines: dict[str, _Line] = {}
        if self._file.is_symlink() or not self._file.is_file():
            return lines
        for raw in self._file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict) and line.keys() == _LINE_KEYS and all(isinstance(v, str) for v in line.values()):
                lines[line["path"]] = _Line(line["sha256"], line["layout"])
        return lines
