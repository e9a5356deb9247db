"""Owns what a manifest must obey: manifest.schema.json, and what a schema cannot say."""

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from convert.shards import CHUNK_BYTES

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""What a model may be called: its directory's name, and a segment of its address."""
MESSAGE_LIMIT = 200
SHA256_DIGITS = 64
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


def broken_rule(document: Any) -> str | None:
    """The place in ``document``, a JSON value, and the first thing that is wrong there; None for a sound manifest."""
    return next(chain(_schema_violations(document), _contradictions(document)), None)


@cache
def _validator() -> "Validator":
    from jsonschema import Draft202012Validator, validators  # slow to import; who only writes bytes never needs it

    def is_integer(_: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)  # JSON Schema alone would let 1.0 pass

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    strict: type[Validator] = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    return strict(json.loads(Path(__file__).with_name("manifest.schema.json").read_bytes()))


def _schema_violations(document: object) -> Iterator[str]:
    for error in _validator().iter_errors(document):
        message = error.message if len(error.message) <= MESSAGE_LIMIT else error.message[:MESSAGE_LIMIT] + "..."
        yield f"at {error.json_path}: {message}"


def _contradictions(document: dict[str, Any]) -> Iterator[str]:
    """What the schema cannot say: sums, references and exact patterns ('$' lets a last newline pass in Python)."""
    files = document["files"]
    for path, entry in files.items():
        where = f"at $.files[{path!r}]"
        if not _PATH.fullmatch(path):
            yield f"{where}: not a relative path of plain names"
        if folders := [str(folder) for folder in PurePosixPath(path).parents if str(folder) in files]:
            yield f"{where}: {folders[0]!r} is a file and a folder at once"
        if any(len(digest) != SHA256_DIGITS for digest in (entry["sha256"], *entry["chunks"])):
            yield f"{where}: a hash is not 64 hex digits"
        want = -(-entry["size_bytes"] // CHUNK_BYTES)
        if len(entry["chunks"]) != want:
            yield f"{where}: {entry['size_bytes']} bytes make {want} chunks, but {len(entry['chunks'])} are listed"
    if not MODEL_ID.fullmatch(document["model"]["id"]):
        yield "at $.model.id: not a plain name"
    dtypes = [variant["dtype"] for variant in document["variants"]]
    if len(set(dtypes)) != len(dtypes):
        yield "at $.variants: a dtype is listed twice"
    for variant in document["variants"]:
        where = f"at $.variants[{variant['dtype']}]"
        graphs = [variant, variant["encoder"]] if variant.get("encoder") else [variant]
        needed = [*variant["files"], *(path for each in graphs for path in (each["graph"], *each["shards"]))]
        if missing := [path for path in needed if path not in files]:
            yield f"{where}: {missing[0]!r} is not in $.files"
            continue
        if unfetched := [path for path in needed if path not in variant["files"]]:
            yield f"{where}: {unfetched[0]!r} is needed but not in the variant's files"
        total = sum({files[path]["sha256"]: files[path]["size_bytes"] for path in variant["files"]}.values())
        if variant["download_bytes"] != total:
            yield f"{where}: download_bytes is {variant['download_bytes']}, but its files add up to {total}"
        largest, weights = variant["largest_tensor_bytes"], variant["weight_bytes"]
        if largest > weights:
            yield f"{where}: largest_tensor_bytes is {largest}, but all weights together have {weights}"
    if unused := files.keys() - {path for variant in document["variants"] for path in variant["files"]}:
        yield f"at $.files[{min(unused)!r}]: no variant uses it"
