"""Shards: where tensors lie, what is hashed, and that a tensor is never held twice."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.errors import OutputFailed, UnsupportedModel
from convert.shards import (
    CHUNK_BYTES,
    LARGE_BYTES,
    PAGE_BYTES,
    SMALL_ALIGNMENT_BYTES,
    ShardSet,
    hash_file,
    write_shards,
)

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Tensor:
    name: str
    nbytes: int
    chunks: Callable[[], Iterator[Any]]


def tensor(name: str, data: Any, pieces: int = 1) -> Tensor:
    rows = np.array_split(data, pieces) if pieces > 1 else [data]
    return Tensor(name, data.nbytes, lambda: iter(rows))


def octets(size_bytes: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, size_bytes, dtype=np.uint8)


def write(tensors: list[Tensor], folder: Path, **options: Any) -> ShardSet:
    folder.mkdir(parents=True, exist_ok=True)
    return write_shards(tensors, folder, "model_q4", on_bytes=lambda _: None, **options)


def test_roundtrip_gives_every_tensor_back(tmp_path: Path) -> None:
    arrays = {
        "float32": np.arange(3000, dtype=np.float32).reshape(30, 100),
        "float16": np.arange(99, dtype=np.float16),
        "bfloat16": np.arange(7, dtype=ml_dtypes.bfloat16),
        "scalar": np.array(5, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "uint8": octets(3 * CHUNK_BYTES + 5),
    }
    shards = write(
        [tensor(name, array, 3 if array.ndim and len(array) else 1) for name, array in arrays.items()], tmp_path
    )
    for name, array in arrays.items():
        file, offset, length = shards.locations[name]
        assert (tmp_path / file).read_bytes()[offset : offset + length] == array.tobytes()


def test_bytes_and_memoryviews_are_written_as_they_are(tmp_path: Path) -> None:
    pieces = [b"ab", memoryview(b"cd"), memoryview(np.array([1], np.int32))]
    shards = write([Tensor("mixed", 8, lambda: iter(pieces))], tmp_path)
    assert (tmp_path / shards.locations["mixed"][0]).read_bytes() == b"abcd\x01\0\0\0"


@settings(deadline=None)  # it writes files
@given(sizes=st.lists(st.integers(0, 2 * PAGE_BYTES) | st.integers(0, 2 * LARGE_BYTES), min_size=1, max_size=12))
def test_layout_is_aligned_bounded_ordered_and_padded_with_zeros(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder, limit = tmp_path_factory.mktemp("onnx"), 3 * LARGE_BYTES
    data = [octets(size, seed) | 1 for seed, size in enumerate(sizes)]
    shards = write([tensor(str(i), array) for i, array in enumerate(data)], folder, limit_bytes=limit)
    names = [entry.path.split("/")[1] for entry in shards.files]
    assert names == ["model_q4.onnx_data" + (f"_{i}" if i else "") for i in range(len(names))]
    places = [(names.index(file), offset, length) for file, offset, length in shards.locations.values()]
    assert places == sorted(places)
    rest = {name: bytearray((folder / name).read_bytes()) for name in names}
    for (shard, offset, length), array in zip(places, data, strict=True):
        assert offset % (PAGE_BYTES if length >= LARGE_BYTES else SMALL_ALIGNMENT_BYTES) == 0
        assert rest[names[shard]][offset : offset + length] == array.tobytes()
        rest[names[shard]][offset : offset + length] = bytes(length)
    assert all(len(content) <= limit for content in rest.values())
    assert not any(any(content) for content in rest.values())


def test_a_tensor_of_exactly_the_limit_fits_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    assert len(write([tensor("fits", octets(PAGE_BYTES))], tmp_path / "a", limit_bytes=PAGE_BYTES).files) == 1
    with pytest.raises(UnsupportedModel, match=r"'huge'.*4097.*4096"):
        write([tensor("huge", octets(PAGE_BYTES + 1))], tmp_path / "b", limit_bytes=PAGE_BYTES)


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_hashes_are_those_of_the_file_and_of_each_chunk(tmp_path: Path, size_bytes: int) -> None:
    content = octets(size_bytes).tobytes()
    path = tmp_path / "file"
    path.write_bytes(content)
    seen: list[int] = []
    entry = hash_file(path, "onnx/file", seen.append)
    assert (entry.path, entry.size_bytes, sum(seen)) == ("onnx/file", size_bytes, size_bytes)
    assert entry.sha256 == hashlib.sha256(content).hexdigest()
    chunks = [content[start : start + CHUNK_BYTES] for start in range(0, size_bytes, CHUNK_BYTES)]
    assert list(entry.chunks) == [hashlib.sha256(chunk).hexdigest() for chunk in chunks]


def test_hashes_taken_while_writing_equal_those_of_the_files(tmp_path: Path) -> None:
    tensors = [tensor(str(i), octets(CHUNK_BYTES + 777 * i, i), pieces=5) for i in range(5)]
    shards = write(tensors, tmp_path / "onnx", limit_bytes=3 * CHUNK_BYTES)
    assert len(shards.files) > 1
    for entry in shards.files:
        assert entry == hash_file(tmp_path / entry.path, entry.path)


def test_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    def once(folder: Path, pieces: int) -> list[bytes]:
        write([tensor(str(i), octets(5000 + i, i), pieces) for i in range(4)], folder, limit_bytes=12000)
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    assert once(tmp_path / "a", 1) == once(tmp_path / "b", 7)


def test_progress_counts_every_byte_of_every_tensor_once(tmp_path: Path) -> None:
    tensors, seen = [tensor(str(i), octets(10_000 + i, i), pieces=3) for i in range(3)], list[int]()
    begun: list[int] = []
    write_shards(tensors, tmp_path, "model", on_bytes=seen.append, on_tensor=lambda: begun.append(len(seen)))
    assert begun == [0, 3, 6]
    assert sum(seen) == sum(item.nbytes for item in tensors)
    assert len(seen) == 9


@pytest.mark.parametrize(("given_bytes", "word"), [(9, "fewer"), (11, "more")])
def test_rejects_a_tensor_of_another_length_than_announced(tmp_path: Path, given_bytes: int, word: str) -> None:
    with pytest.raises(OutputFailed, match=f"'w' announced 10 bytes but gave {word}"):
        write([Tensor("w", 10, lambda: iter([bytes(given_bytes)]))], tmp_path)


def test_rejects_a_name_given_twice(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match="'w' was given twice"):
        write([tensor("w", octets(1)), tensor("w", octets(1))], tmp_path)


def test_existing_shards_are_never_overwritten(tmp_path: Path) -> None:
    write([tensor("w", octets(1))], tmp_path)
    with pytest.raises(FileExistsError):
        write([tensor("w", octets(1))], tmp_path)


STREAM = """
import json, resource, sys
from pathlib import Path
import numpy as np
from tests.test_shards import Tensor
from convert.shards import write_shards
PIECE, PIECES = 16 << 20, 12
def pieces():
    for _ in range(PIECES):
        yield np.ones(PIECE, np.uint8)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
tensor = Tensor("w", PIECE * PIECES, pieces)
write_shards([tensor], Path(sys.argv[1]), "model", limit_bytes=1 << 30, on_bytes=lambda _: None)
print(json.dumps({"growth": peak() - before, "piece": PIECE}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
def test_only_one_piece_is_held_at_a_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STREAM, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    measured = json.loads(done.stdout)
    assert measured["growth"] < 1.7 * measured["piece"]
