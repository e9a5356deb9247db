"""Owns the GGUF container: metadata and tensor table, where every count, length and offset is checked before use.

Layout: "GGUF", u32 version, u64 tensor count, u64 metadata count; the metadata (key, type, value); the tensor table
(name, dimensions fastest first, type, offset); padding to ``general.alignment``; the data. All little-endian.
Source: docs/gguf.md in ggml-org/ggml.
"""

import math
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert.checkpoint.block_formats import BLOCK_FORMATS
from convert.checkpoint.gguf_metadata import Metadata
from convert.checkpoint.mapped_file import MappedFile
from convert.checkpoint.stored import DENSE_DTYPES, BlockTensor, DenseTensor
from convert.checkpoint.tensor import LazyTensor
from convert.checkpoint.untrusted import check_tensor_count, quote
from convert.errors import BadCheckpoint, UnsupportedModel

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT_LIMIT = 1 << 16
_KEY_LIMIT_BYTES = (1 << 16) - 1
_STRING_LIMIT_BYTES = 1 << 24
_DIMENSION_LIMIT = 4

_TENSOR_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    28: "F64",
    30: "BF16",
}
"""Those of enum ggml_type in ggml.h that we read."""

_BOOL, _STRING, _ARRAY, _FLOAT32 = 7, 8, 9, 6
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""enum gguf_type in gguf.h, without string (8) and array (9), as numpy types."""


@dataclass(frozen=True)
class GgufFile:
    """An open GGUF file; the holder closes ``file``."""

    metadata: Metadata
    tensors: dict[str, LazyTensor]
    """By their GGUF names, slowest dimension first as everywhere else, in the order of the table."""
    file: MappedFile


def open_gguf(path: Path) -> GgufFile:
    """Map ``path`` and read its tables.

    Raises:
        BadCheckpoint: the file is damaged, incomplete or hostile.
        UnsupportedModel: big-endian, of another version, split, or it holds a tensor type that we do not read.
    """
    with ExitStack() as undo:
        file = MappedFile(path)
        undo.callback(file.close)
        cursor = _Cursor(file)
        tensor_count = _read_preamble(cursor)
        metadata = Metadata(path, _read_metadata(cursor))
        if metadata.integer("split.count", default=1) > 1:
            raise UnsupportedModel(f"{path}: is a part of a split model; merge the parts with llama-gguf-split --merge")
        tensors = _read_tensor_table(cursor, tensor_count, metadata)
        file.release(0, cursor.position)
        undo.pop_all()
    return GgufFile(metadata, tensors, file)


class _Cursor:
    """Reads forward through the tables and never past the end of the file."""

    def __init__(self, file: MappedFile) -> None:
        self.path, self.position, self.file = file.path, 0, file

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return self.file.size_bytes - self.position

    def take(self, size_bytes: int, what: str) -> bytes:
        """The next bytes, as a copy."""
        if size_bytes > self.left:
            raise BadCheckpoint(
                f"{self.path}: ends inside {what} ({size_bytes} bytes needed, {self.left} left); "
                "the file is damaged or truncated, so fetch it again"
            )
        raw = self.file.view(self.position, size_bytes).tobytes()
        self.position += size_bytes
        return raw

    def u32(self, what: str) -> int:
        """The next unsigned 32-bit number."""
        return int(struct.unpack("<I", self.take(4, what))[0])

    def u64(self, what: str) -> int:
        """The next unsigned 64-bit number."""
        return int(struct.unpack("<Q", self.take(8, what))[0])

    def count(self, what: str, least_bytes: int) -> int:
        """The next u64 as the number of things that follow, of at least ``least_bytes`` each."""
        count = self.u64(f"the number of {what}")
        if count > self.left // least_bytes:
            raise BadCheckpoint(
                f"{self.path}: claims {count} {what}, but only {self.left} bytes follow; "
                "the file is damaged or truncated, so fetch it again"
            )
        return count

    def text(self, what: str, limit_bytes: int = _STRING_LIMIT_BYTES) -> str:
        """The next string."""
        length = self.u64(what)
        if length > limit_bytes:
            raise BadCheckpoint(
                f"{self.path}: {what} claims {length} bytes, expected at most {limit_bytes}; "
                "the file is damaged, so fetch it again"
            )
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadCheckpoint(
                f"{self.path}: {what} is not valid UTF-8; the file is damaged, so fetch it again"
            ) from error


def _read_preamble(cursor: _Cursor) -> int:
    """Number of tensors, after magic and version."""
    magic = cursor.take(len(_MAGIC), "the magic number")
    if magic != _MAGIC:
        raise BadCheckpoint(f"{cursor.path}: begins with {quote(magic)}, expected {_MAGIC!r}; this is not a GGUF file")
    version = cursor.u32("the version")
    if version not in _VERSIONS:
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            raise UnsupportedModel(f"{cursor.path}: is big-endian, expected little-endian; get the usual GGUF file")
        raise UnsupportedModel(
            f"{cursor.path}: is GGUF version {version}, expected 2 or 3; write it anew with a current llama.cpp"
        )
    count = cursor.count("tensors", least_bytes=24)
    check_tensor_count(count, str(cursor.path))
    return count


def _read_metadata(cursor: _Cursor) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(cursor.count("metadata entries", least_bytes=13)):
        key = cursor.text("a metadata key", _KEY_LIMIT_BYTES)
        if key in metadata:
            raise BadCheckpoint(f"{cursor.path}: the metadata key {quote(key)} appears twice; expected each key once")
        metadata[key] = _read_value(cursor, cursor.u32("a metadata type"), f"the metadata {quote(key)}")
    return metadata


def _read_value(cursor: _Cursor, type_id: int, what: str) -> Any:
    if type_id == _STRING:
        return cursor.text(what)
    if type_id == _ARRAY:
        element_type = cursor.u32(what)
        if element_type == _STRING:
            return [cursor.text(what) for _ in range(cursor.count(f"strings in {what}", least_bytes=8))]
        dtype = _scalar_dtype(cursor, element_type, what)
        count = cursor.count(f"elements in {what}", least_bytes=dtype.itemsize)
        return np.frombuffer(cursor.take(count * dtype.itemsize, what), dtype).tolist()
    dtype = _scalar_dtype(cursor, type_id, what)
    value = np.frombuffer(cursor.take(dtype.itemsize, what), dtype)[0]
    # 1e-05 is stored as the float32 9.99999974e-06: its shortest decimal form is what was meant.
    return float(str(value)) if type_id == _FLOAT32 else value.item()


def _scalar_dtype(cursor: _Cursor, type_id: int, what: str) -> np.dtype[np.generic]:
    if type_id not in _SCALARS:
        raise BadCheckpoint(
            f"{cursor.path}: {what} has type {type_id}, expected a number, a string or an array of these; "
            "the file is damaged, so fetch it again"
        )
    return np.dtype(_SCALARS[type_id])


def _read_tensor_table(cursor: _Cursor, count: int, metadata: Metadata) -> dict[str, LazyTensor]:
    alignment = metadata.integer("general.alignment", default=_DEFAULT_ALIGNMENT)
    if not 0 < alignment <= _ALIGNMENT_LIMIT or alignment & (alignment - 1):
        raise BadCheckpoint(f"{cursor.path}: general.alignment is {alignment}, expected a power of two up to 65536")
    entries = [_read_entry(cursor, alignment) for _ in range(count)]
    data_start = cursor.position + -cursor.position % alignment
    data_bytes = cursor.position + cursor.left - data_start
    tensors: dict[str, LazyTensor] = {}
    for entry in entries:
        if entry.name in tensors:
            raise BadCheckpoint(f"{cursor.path}: the tensor {quote(entry.name)} appears twice; expected each name once")
        if entry.end > data_bytes:
            raise BadCheckpoint(
                f"{cursor.path}: the tensor {quote(entry.name)} needs {entry.end} bytes of data, "
                f"but only {max(data_bytes, 0)} are there; the file is truncated, so fetch it again"
            )
        tensors[entry.name] = entry.tensor(cursor, data_start)
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.offset, entry.end)):
        if entry.offset < end:
            raise BadCheckpoint(
                f"{cursor.path}: the tensor {quote(entry.name)} overlaps the one before it (starts at {entry.offset}, "
                f"expected {end} or more); do not use this file"
            )
        end = entry.end
    return tensors


@dataclass(frozen=True)
class _Entry:
    """A row of the tensor table; offsets count from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset: int
    end: int

    def tensor(self, cursor: _Cursor, data_start: int) -> LazyTensor:
        """The tensor that the row describes."""
        stored = BlockTensor if self.type_name in BLOCK_FORMATS else DenseTensor
        return stored(self.name, self.shape, self.type_name, cursor.file, data_start + self.offset)


def _read_entry(cursor: _Cursor, alignment: int) -> _Entry:
    name = cursor.text("a tensor name", _KEY_LIMIT_BYTES)
    where = f"{cursor.path}: the tensor {quote(name)}"
    dimensions = cursor.u32(f"the tensor {quote(name)}")
    if not 1 <= dimensions <= _DIMENSION_LIMIT:
        raise BadCheckpoint(
            f"{where} has {dimensions} dimensions, expected 1 to {_DIMENSION_LIMIT}; fetch the file again"
        )
    shape = tuple(reversed([cursor.u64(f"the tensor {quote(name)}") for _ in range(dimensions)]))
    type_id = cursor.u32(f"the tensor {quote(name)}")
    offset = cursor.u64(f"the tensor {quote(name)}")
    if type_id not in _TENSOR_TYPES:
        raise UnsupportedModel(
            f"{where} has type {_type_name(type_id)}, expected one of {', '.join(_TENSOR_TYPES.values())}; "
            "get the model in one of these types"
        )
    type_name = _TENSOR_TYPES[type_id]
    if type_name in BLOCK_FORMATS:
        block = BLOCK_FORMATS[type_name]
        if dimensions < 2 or shape[-1] % block.stored_length:
            raise BadCheckpoint(
                f"{where} has shape {quote(shape)}, expected a matrix with rows of a multiple of {block.stored_length} "
                f"for type {type_name}; the file is damaged, so fetch it again"
            )
        size_bytes = math.prod(shape) // block.stored_length * block.block_bytes
    else:
        size_bytes = math.prod(shape) * DENSE_DTYPES[type_name].itemsize
    if not size_bytes or offset % alignment:
        raise BadCheckpoint(
            f"{where} has shape {quote(shape)} at offset {offset}, expected no empty dimension and a multiple of "
            f"{alignment}; the file is damaged, so fetch it again"
        )
    return _Entry(name, shape, type_name, offset, offset + size_bytes)


def _type_name(type_id: int) -> str:
    """Name and number of a tensor type that we do not read."""
    from gguf import GGMLQuantizationType  # Slow to import, for this message only.

    known = type_id in set(GGMLQuantizationType)
    return f"{GGMLQuantizationType(type_id).name} ({type_id})" if known else str(type_id)
