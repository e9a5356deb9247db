"""Owns the reading of manifest.json: bounded, checked, and given back as records."""

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from convert.dtypes import Dtype
from convert.errors import BadModelDirectory
from convert.kv_cache import KvCache
from convert.manifest.records import (
    FORMAT,
    NAME,
    VERSION,
    Cost,
    GraphSpec,
    Manifest,
    Model,
    OperatorCost,
    Pooling,
    Variant,
)
from convert.manifest.rules import broken_rule
from convert.shards import FileEntry

LIMIT_BYTES = 8 << 20
"""A longer manifest is refused unread; the browser's reader has the same bound."""


def load(path: Path) -> Manifest:
    """Read and check the manifest at ``path`` (the file, or the model directory that holds it).

    Raises BadModelDirectory when it is missing, too long, not JSON, off the schema or contradicts itself.
    """
    return parse(read(path), str(_file(path)))


def read(path: Path) -> bytes:
    """The bytes of the manifest at ``path`` (the file, or the model directory), at most LIMIT_BYTES, unchecked."""
    file = _file(path)
    if not file.is_file():
        raise BadModelDirectory(f"{file}: not found; a model directory is what 'featherweight convert' writes")
    try:
        with file.open("rb") as stream:
            data = stream.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise BadModelDirectory(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > LIMIT_BYTES:
        raise BadModelDirectory(f"{file}: longer than {LIMIT_BYTES} bytes, which no manifest is")
    return data


def parse(data: bytes, name: str = NAME) -> Manifest:
    """Check the bytes of a manifest and give it back typed; ``name`` goes into the error.

    Raises BadModelDirectory with the place in the document and what is wrong there.
    """

    def refuse(problem: str) -> NoReturn:
        raise BadModelDirectory(f"{name}: {problem}; convert the model again")

    try:
        document = json.loads(data, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refuse(f"not valid JSON: {error}")
    if isinstance(document, dict) and document.get("format") == FORMAT and document.get("version") != VERSION:
        refuse(f"version {document.get('version')!r} is not known to this reader, which knows {VERSION}")
    if problem := broken_rule(document):
        refuse(problem)
    return _typed(document)


def is_model_directory(path: Path) -> bool:
    """Whether ``path`` holds a manifest of this format, in whatever state its files are."""
    try:
        document = json.loads(read(path))
    except (BadModelDirectory, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def revision(manifest: Path | bytes) -> str:
    """The revision under which a model is served: SHA-256 of the bytes of manifest.json, 64 hex digits.

    Takes the bytes, or the path of the file or of the model directory; raises BadModelDirectory as `read` does.
    """
    return hashlib.sha256(manifest if isinstance(manifest, bytes) else read(manifest)).hexdigest()


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


def _typed(document: dict[str, Any]) -> Manifest:
    model = document["model"]
    labels = model["labels"]
    return Manifest(
        model=Model(
            **{
                **model,
                "pooling": _record(Pooling, model["pooling"]),
                "kv_cache": _record(KvCache, model["kv_cache"]),
                "labels": None if labels is None else tuple(labels),
            }
        ),
        source=document["source"],
        files={
            path: FileEntry(path, entry["size_bytes"], entry["sha256"], tuple(entry["chunks"]))
            for path, entry in document["files"].items()
        },
        variants=tuple(
            Variant(
                **{
                    **variant,
                    "dtype": Dtype(variant["dtype"]),
                    "shards": tuple(variant["shards"]),
                    "files": tuple(variant["files"]),
                    "cost": _cost(variant["cost"]),
                    "encoder": _encoder(variant.get("encoder")),
                }
            )
            for variant in document["variants"]
        ),
        quality=document["quality"],
        converter_version=document["converter"]["version"],
    )


def _cost(value: dict[str, Any]) -> Cost:
    per_token = {name: OperatorCost(**cost) for name, cost in value["per_token"].items()}
    return Cost(**{**value, "per_token": per_token})


def _encoder(value: dict[str, Any] | None) -> GraphSpec | None:
    if value is None:
        return None
    return GraphSpec(graph=value["graph"], shards=tuple(value["shards"]), cost=_cost(value["cost"]))


_Record = TypeVar("_Record", Pooling, KvCache)


def _record(kind: type[_Record], value: dict[str, Any] | None) -> _Record | None:
    return None if value is None else kind(**value)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
