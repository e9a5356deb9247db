"""Owns how names, text and JSON from files that we did not write are admitted: bounded, contained and quoted."""

import json
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from convert.errors import BadCheckpoint

JSON_LIMIT_BYTES = 64 << 20
"""Bound of a side file (configuration, tokenizer, index); the largest published tokenizer.json is about half of it."""
TENSOR_LIMIT = 1 << 17
"""Bound of the number of tensors in a checkpoint; the largest published mixtures of experts stay below it."""
_QUOTE_LIMIT = 80


def quote(text: object) -> str:
    """``text`` as one printable line of at most about 80 characters, for error messages."""
    shown = repr(text)
    return shown if len(shown) <= _QUOTE_LIMIT else f"{shown[: _QUOTE_LIMIT - 1]}…"


def check_tensor_count(count: int, what: str) -> None:
    """Raise BadCheckpoint when ``what`` lists more tensors than TENSOR_LIMIT."""
    if count > TENSOR_LIMIT:
        raise BadCheckpoint(f"{what}: lists {count} tensors, expected at most {TENSOR_LIMIT}; do not use this file")


def contained_path(directory: Path, name: str) -> Path:
    """Path of the file ``name`` below ``directory``.

    Links may point inside the directory, or from a hub snapshot into the ``blobs`` of the same cached repository.

    Raises:
        BadCheckpoint: ``name`` is not a plain relative path, or a link leads outside.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or any(character in name for character in "\\:\0"):
        raise BadCheckpoint(
            f"{directory}: the file name {quote(name)} leads outside the directory; "
            "expected a plain relative name, so get the checkpoint from a source that you trust"
        )
    path = directory / name
    roots = [directory.resolve()]
    if roots[0].parent.name == "snapshots":
        roots.append(roots[0].parent.parent / "blobs")
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise BadCheckpoint(f"{path}: the link cannot be followed; replace it by the file itself") from error
    if not any(target.is_relative_to(root) for root in roots):
        raise BadCheckpoint(f"{path}: is a link to a file outside {directory}; copy the file into the directory")
    return path


def read_small_file(path: Path) -> bytes:
    """Content of a side file.

    Raises:
        BadCheckpoint: unreadable, or larger than JSON_LIMIT_BYTES.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > JSON_LIMIT_BYTES:
            raise BadCheckpoint(
                f"{path}: is {size_bytes} bytes long, expected at most {JSON_LIMIT_BYTES} for this kind of file; "
                "check that it is the right file"
            )
        return path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def parse_json_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``raw``; ``what`` names it in errors.

    Raises:
        BadCheckpoint: not UTF-8, not JSON, nested without end, not an object, a key twice, or NaN and Infinity.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise BadCheckpoint(f"{what}: the key {quote(key)} appears twice; expected each key once")
            result[key] = value
        return result

    def no_constant(constant: str) -> NoReturn:
        raise BadCheckpoint(f"{what}: holds {constant}, which is not JSON; replace it by a number or null")

    try:
        parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{what}: is not valid JSON ({quote(str(error))}); fetch the file again") from error
    if not isinstance(parsed, dict):
        raise BadCheckpoint(f"{what}: holds a {type(parsed).__name__}, expected a JSON object")
    return parsed
