"""Owns the external-data files: streams tensors into bounded shards and hashes every byte as it passes."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from convert.errors import OutputFailed, UnsupportedModel

CHUNK_BYTES = 1 << 20
"""Unit of download, verification and resume."""
SHARD_LIMIT_BYTES = 64 << 20
PAGE_BYTES = 4096
"""Alignment of large tensors; ONNX's external-data format asks for it, for memory mapping."""
LARGE_BYTES = 64 << 10
"""What is smaller is not worth the padding."""
SMALL_ALIGNMENT_BYTES = 64

Buffer: TypeAlias = Any
"""bytes, a memoryview, or a C-contiguous numpy array of any type and shape."""


class Streamed(Protocol):
    """The part of an initializer that this module needs."""

    @property
    def name(self) -> str:
        """Name of the initializer in the graph."""

    @property
    def nbytes(self) -> int:
        """Exact length of its raw data."""

    @property
    def chunks(self) -> Callable[[], Iterator[Buffer]]:
        """Makes its raw little-endian data piece by piece, in order."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the model directory as the manifest lists it."""

    path: str
    """Relative to the model directory, with forward slashes."""
    size_bytes: int
    sha256: str
    chunks: tuple[str, ...]
    """SHA-256 (64 hex digits) of each CHUNK_BYTES of the file; the last chunk may be shorter."""


@dataclass(frozen=True, slots=True)
class ShardSet:
    """Where each tensor went, and the files that hold them."""

    locations: dict[str, tuple[str, int, int]]
    """Name of the tensor -> (bare file name, offset, length), in bytes."""
    files: list[FileEntry]
    """In order of writing, which is the order of first use in the graph."""


class Finished(Protocol):
    """What earlier runs of the same conversion finished; ``layout`` stands for the tensors in a file."""

    def reuse(self, path: str, layout: str) -> FileEntry | None:
        """The file ``path``, if it is there and as it was written."""

    def record(self, entry: FileEntry, layout: str) -> None:
        """Remember a file that is complete."""


class ChunkHasher:
    """SHA-256 of a whole stream and of each of its chunks, in one pass."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._whole = hashlib.sha256()
        self._chunk = hashlib.sha256()
        self._chunks: list[str] = []

    def update(self, data: memoryview) -> None:
        """Take the next bytes of the stream; ``data`` is one-dimensional, of bytes."""
        self._whole.update(data)
        while data:
            piece = data[: CHUNK_BYTES - self.size_bytes % CHUNK_BYTES]
            self._chunk.update(piece)
            self.size_bytes += len(piece)
            if self.size_bytes % CHUNK_BYTES == 0:
                self._chunks.append(self._chunk.hexdigest())
                self._chunk = hashlib.sha256()
            data = data[len(piece) :]

    def entry(self, path: str) -> FileEntry:
        """Describe what was taken so far as the whole file ``path``."""
        tail = [self._chunk.hexdigest()] if self.size_bytes % CHUNK_BYTES else []
        return FileEntry(path, self.size_bytes, self._whole.hexdigest(), (*self._chunks, *tail))


def hash_file(path: Path, relative: str, on_bytes: Callable[[int], None] | None = None) -> FileEntry:
    """Hash an existing file in one pass and constant memory; ``relative`` becomes the entry's path.

    Raises OSError when the file cannot be read.
    """
    hasher = ChunkHasher()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while size_bytes := file.readinto(buffer):
            hasher.update(buffer[:size_bytes])
            if on_bytes:
                on_bytes(size_bytes)
    return hasher.entry(relative)


def write_shards(
    initializers: Iterable[Streamed],
    directory: Path,
    stem: str,
    *,
    first: Collection[str] = (),
    limit_bytes: int = SHARD_LIMIT_BYTES,
    on_bytes: Callable[[int], None],
    on_tensor: Callable[[], None] = lambda: None,
    finished: Finished | None = None,
) -> ShardSet:
    """Write ``initializers`` in order to ``stem.onnx_data``, ``stem.onnx_data_1``, ... in ``directory``.

    ``directory`` is a folder directly inside the model directory: entries are named ``<folder>/<file>``. A tensor
    lies in one file; those named in ``first`` have the first files for themselves. It is aligned to PAGE_BYTES when it
    has LARGE_BYTES or more and to SMALL_ALIGNMENT_BYTES otherwise;
    padding is zeros. Each piece is written straight from the buffer that it comes in, and let go before the next
    is asked for. ``on_bytes`` is told the length of each piece written, padding left out; ``on_tensor`` is called
    when a tensor begins. Files that ``finished`` knows are not written again.

    Raises UnsupportedModel for a tensor longer than ``limit_bytes``, OutputFailed when a tensor's pieces do not add
    up to its length or its name comes twice, OSError when the disk refuses.
    """
    locations: dict[str, tuple[str, int, int]] = {}
    files: list[FileEntry] = []
    for number, content in enumerate(_arrange(initializers, first, limit_bytes)):
        name = _file_name(stem, number)
        layout = _layout(content)
        entry = finished.reuse(f"{directory.name}/{name}", layout) if finished else None
        if entry is None:
            entry = _write_shard(directory, name, content, on_bytes, on_tensor)
            if finished:
                finished.record(entry, layout)
        else:
            for tensor, _ in content:
                on_tensor()
                on_bytes(tensor.nbytes)
        files.append(entry)
        locations |= {tensor.name: (name, offset, tensor.nbytes) for tensor, offset in content}
    return ShardSet(locations, files)


def lay_out(
    initializers: Iterable[Streamed], stem: str, *, first: Collection[str] = (), limit_bytes: int = SHARD_LIMIT_BYTES
) -> tuple[dict[str, tuple[str, int, int]], int]:
    """Where `write_shards` will put each tensor (file name, offset, length), and the bytes of all its files.

    Raises what `write_shards` raises for tensors that it cannot place.
    """
    locations: dict[str, tuple[str, int, int]] = {}
    total = 0
    for number, content in enumerate(_arrange(initializers, first, limit_bytes)):
        name = _file_name(stem, number)
        locations |= {tensor.name: (name, offset, tensor.nbytes) for tensor, offset in content}
        total += sum((offset + tensor.nbytes for tensor, offset in content[-1:]), 0)
    return locations, total


def _file_name(stem: str, number: int) -> str:
    return f"{stem}.onnx_data" + (f"_{number}" if number else "")


def _arrange(
    initializers: Iterable[Streamed], first: Collection[str], limit_bytes: int
) -> list[list[tuple[Streamed, int]]]:
    """The tensors of each file and their offsets in it."""
    tensors = list(initializers)
    before, after = ([item for item in tensors if (item.name in first) == chosen] for chosen in (True, False))
    shards = _fill(before, limit_bytes) + _fill(after, limit_bytes)
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise OutputFailed(f"tensor {tensor.name!r} was given twice to be written; names must be unique")
        names.add(tensor.name)
    return shards


def _fill(tensors: Iterable[Streamed], limit_bytes: int) -> list[list[tuple[Streamed, int]]]:
    shards: list[list[tuple[Streamed, int]]] = []
    end = 0
    for tensor in tensors:
        if tensor.nbytes > limit_bytes:
            raise UnsupportedModel(
                f"tensor {tensor.name!r} takes {tensor.nbytes} bytes but a shard holds {limit_bytes} at most; "
                "its graph builder must split it"
            )
        alignment = PAGE_BYTES if tensor.nbytes >= LARGE_BYTES else SMALL_ALIGNMENT_BYTES
        offset = -(-end // alignment) * alignment
        if not shards or offset + tensor.nbytes > limit_bytes:
            shards.append([])
            offset = 0
        shards[-1].append((tensor, offset))
        end = offset + tensor.nbytes
    return shards


def _layout(content: Sequence[tuple[Streamed, int]]) -> str:
    """Digest of names, offsets and lengths."""
    rows = [(tensor.name, offset, tensor.nbytes) for tensor, offset in content]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _write_shard(
    directory: Path,
    name: str,
    content: Sequence[tuple[Streamed, int]],
    on_bytes: Callable[[int], None],
    on_tensor: Callable[[], None],
) -> FileEntry:
    with (directory / name).open("xb", buffering=0) as file:
        shard = _Shard(file)
        for tensor, offset in content:
            on_tensor()
            shard.append(tensor, offset, on_bytes)
    return shard.hasher.entry(f"{directory.name}/{name}")


class _Shard:
    """One external-data file while it grows."""

    def __init__(self, file: FileIO) -> None:
        self._file, self.hasher = file, ChunkHasher()

    def append(self, tensor: Streamed, offset: int, on_bytes: Callable[[int], None]) -> None:
        """Write ``tensor`` at ``offset``, after padding."""
        self._write(memoryview(bytes(offset - self.hasher.size_bytes)))
        left = tensor.nbytes
        for piece in tensor.chunks():
            data = _as_bytes(piece)
            left -= len(data)
            if left < 0:
                break
            self._write(data)
            on_bytes(len(data))
            del data, piece  # or the next piece would be made while this one is still held
        if left:
            raise OutputFailed(
                f"tensor {tensor.name!r} announced {tensor.nbytes} bytes but gave {'fewer' if left > 0 else 'more'}; "
                "this is a defect of its reader or quantizer"
            )

    def _write(self, data: memoryview) -> None:
        self.hasher.update(data)
        while data:
            data = data[self._file.write(data) :]


def _as_bytes(piece: Buffer) -> memoryview:
    """One-dimensional byte view of ``piece``, without a copy."""
    if isinstance(piece, bytes | bytearray | memoryview):
        return memoryview(piece).cast("B")
    return memoryview(piece.reshape(-1).view("u1"))  # numpy: bfloat16 and int4 have no buffer format of their own
