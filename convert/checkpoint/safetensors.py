"""Owns the safetensors format: an 8-byte length, a JSON header and the tensors, each span checked before use.

Byte by byte: u64 little-endian header length; the header, a JSON object of ``name: {dtype, shape, data_offsets}`` and
optionally ``__metadata__``; then the data, which the spans must cover without gap or overlap up to the end of the file.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.checkpoint.mapped_file import MappedFile
from convert.checkpoint.stored import DENSE_DTYPES, DenseTensor
from convert.checkpoint.tensor import LazyTensor
from convert.checkpoint.untrusted import check_tensor_count, contained_path, parse_json_object, quote, read_small_file
from convert.errors import BadCheckpoint

HEADER_LIMIT_BYTES = 100_000_000
"""The limit of the reference implementation."""
_LENGTH_BYTES = 8
_DIMENSION_LIMIT = 16
_ELEMENT_LIMIT = 1 << 48
"""Bound of the product of the sizes that are not 0: the span bounds it only when no size is 0."""
INDEX_NAME = "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensors:
    """Tensors of one or more mapped files, and those files, which the holder closes."""

    tensors: dict[str, LazyTensor]
    files: tuple[MappedFile, ...]


def open_safetensors(path: Path) -> StoredTensors:
    """Map ``path`` and read its header.

    Raises:
        BadCheckpoint: the file is damaged, incomplete or hostile.
    """
    with ExitStack() as undo:
        file = MappedFile(path)
        undo.callback(file.close)
        tensors = _read_header(file)
        undo.pop_all()
    return StoredTensors(tensors, (file,))


def open_sharded_safetensors(index: Path) -> StoredTensors:
    """Map the files that ``index`` (``model.safetensors.index.json``) names, tensors in the order of its weight_map.

    Raises:
        BadCheckpoint: the index or a file is damaged, a file is missing, a tensor is not in its file.
    """
    placement = _read_weight_map(index)
    with ExitStack() as undo:
        shards: dict[str, StoredTensors] = {}
        for shard_name in dict.fromkeys(placement.values()):
            path = contained_path(index.parent, shard_name)
            if not path.is_file():
                raise BadCheckpoint(f"{index}: names {quote(shard_name)}, which is not there; fetch the missing file")
            shards[shard_name] = open_safetensors(path)
            undo.callback(shards[shard_name].files[0].close)
        tensors: dict[str, LazyTensor] = {}
        for name, shard_name in placement.items():
            if name not in shards[shard_name].tensors:
                raise BadCheckpoint(
                    f"{index}: expects the tensor {quote(name)} in {quote(shard_name)}, which does not hold it; "
                    "fetch index and shards of one revision"
                )
            tensors[name] = shards[shard_name].tensors[name]
        undo.pop_all()
    return StoredTensors(tensors, tuple(file for shard in shards.values() for file in shard.files))


def _read_weight_map(index: Path) -> dict[str, str]:
    raw = read_small_file(index)
    check_tensor_count(raw.count(b".safetensors"), str(index))
    weight_map = parse_json_object(raw, str(index)).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadCheckpoint(f"{index}: has no weight_map, expected an object from tensor to file name")
    for name, shard_name in weight_map.items():
        if not isinstance(shard_name, str) or not shard_name.endswith(".safetensors"):
            raise BadCheckpoint(
                f"{index}: places the tensor {quote(name)} in {quote(shard_name)}, expected a .safetensors file name"
            )
    return weight_map


def _read_header(file: MappedFile) -> dict[str, LazyTensor]:
    if file.size_bytes < _LENGTH_BYTES:
        raise BadCheckpoint(
            f"{file.path}: is {file.size_bytes} bytes long, expected a safetensors header; fetch the file again"
        )
    length = int.from_bytes(file.view(0, _LENGTH_BYTES).tobytes(), "little")
    if length > HEADER_LIMIT_BYTES:
        raise BadCheckpoint(
            f"{file.path}: the header claims {length} bytes, expected at most {HEADER_LIMIT_BYTES}; "
            "this is not a safetensors file"
        )
    data_start = _LENGTH_BYTES + length
    if data_start > file.size_bytes:
        raise BadCheckpoint(
            f"{file.path}: the header claims {length} bytes, but only {file.size_bytes - _LENGTH_BYTES} follow; "
            "the file is truncated, so fetch it again"
        )
    raw = file.view(_LENGTH_BYTES, length).tobytes()
    check_tensor_count(raw.count(b"data_offsets"), str(file.path))  # before a million objects are made of them
    header = parse_json_object(raw, f"{file.path} (header)")
    check_tensor_count(len(header), str(file.path))
    file.release(0, data_start)
    _check_metadata(header.pop("__metadata__", {}), file.path)
    tensors: dict[str, LazyTensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        dtype, shape, (begin, end) = _check_entry(file.path, name, entry)
        spans.append((begin, end, name))
        tensors[name] = DenseTensor(name, shape, dtype, file, data_start + begin)
    _check_cover(file.path, sorted(spans), file.size_bytes - data_start)
    return tensors


def _check_metadata(metadata: Any, path: Path) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadCheckpoint(f"{path}: __metadata__ is not an object of strings; fetch the file again")


def _check_entry(path: Path, name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """dtype, shape and span of a header entry whose parts fit each other."""
    where = f"{path}: the tensor {quote(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadCheckpoint(f"{where} is described by {quote(entry)}, expected dtype, shape and data_offsets")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DENSE_DTYPES:
        raise BadCheckpoint(
            f"{where} has dtype {quote(dtype)}, expected one of {', '.join(DENSE_DTYPES)}; convert it to one of these"
        )
    if not isinstance(shape, list) or len(shape) > _DIMENSION_LIMIT or not all(_is_size(size) for size in shape):
        raise BadCheckpoint(f"{where} has shape {quote(shape)}, expected at most {_DIMENSION_LIMIT} sizes")
    if math.prod(size for size in shape if size) > _ELEMENT_LIMIT:
        raise BadCheckpoint(f"{where} has shape {quote(shape)}, which no file can hold; do not use this file")
    if not isinstance(span, list) or len(span) != 2 or not all(_is_size(offset) for offset in span):
        raise BadCheckpoint(f"{where} has data_offsets {quote(span)}, expected begin and end")
    expected_bytes = math.prod(shape) * DENSE_DTYPES[dtype].itemsize
    if span[1] - span[0] != expected_bytes:
        raise BadCheckpoint(
            f"{where} has {span[1] - span[0]} bytes, expected {expected_bytes} for {dtype} {quote(shape)}; "
            "the file is damaged, so fetch it again"
        )
    return dtype, tuple(shape), (span[0], span[1])


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _check_cover(path: Path, spans: list[tuple[int, int, str]], data_bytes: int) -> None:
    """The sorted spans cover 0 to ``data_bytes`` without overlap, gap or overhang."""
    position = 0
    for begin, end, name in spans:
        if begin < position:
            raise BadCheckpoint(
                f"{path}: the tensor {quote(name)} overlaps the one before it (starts at {begin}, "
                f"expected {position}); do not use this file"
            )
        if begin > position:
            raise BadCheckpoint(
                f"{path}: {begin - position} bytes before the tensor {quote(name)} belong to no tensor; "
                "expected no gap, so do not use this file"
            )
        position = end
    if position > data_bytes:
        raise BadCheckpoint(
            f"{path}: the tensors need {position} bytes, but only {data_bytes} are there; "
            "the file is truncated, so fetch it again"
        )
    if position < data_bytes:
        raise BadCheckpoint(
            f"{path}: {data_bytes - position} bytes after the last tensor belong to none; do not use this file"
        )
