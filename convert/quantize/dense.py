"""Owns floating-point initializers: as stored, or transposed to the [in, out] layout of MatMul, in bounded memory."""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from convert.checkpoint.tensor import LazyTensor
from convert.errors import NOT_FINITE, BadCheckpoint
from convert.graph.builder import PART_LIMIT_BYTES
from convert.graph.initializer import ITEM_BYTES, Initializer

CHUNK_BYTES = 4 << 20
ReadRows = Callable[[int, int], NDArray[np.float32]]


def row_ranges(rows: int, row_bytes: int, limit_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut ``rows`` into consecutive ranges of at most ``limit_bytes`` (at least one row) each."""
    step = max(1, limit_bytes // max(1, row_bytes))
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


def dense_parts(tensor: LazyTensor, *, float16: bool, transposed: bool = False) -> list[Initializer]:
    """Describe ``tensor`` as float32 or float16 initializers, cut into row ranges of at most 64 MiB.

    Args:
        tensor: [out, in] (or any shape when not ``transposed``).
        float16: store float16 instead of float32.
        transposed: store [in, out].
    """
    shape = (tensor.shape[1], tensor.shape[0]) if transposed else tensor.shape
    read = partial(_read_columns, tensor) if transposed else tensor.read_rows
    onnx_dtype = TensorProto.FLOAT16 if float16 else TensorProto.FLOAT
    row_bytes = prod(shape[1:]) * ITEM_BYTES[onnx_dtype]
    ranges = list(row_ranges(shape[0], row_bytes, PART_LIMIT_BYTES))
    return [
        Initializer(
            name=tensor.name if len(ranges) == 1 else f"{tensor.name}.part{index}",
            shape=(stop - start, *shape[1:]),
            onnx_dtype=onnx_dtype,
            chunks=partial(_stream, tensor.name, read, start, stop, row_bytes, float16),
        )
        for index, (start, stop) in enumerate(ranges)
    ]


def _read_columns(tensor: LazyTensor, start: int, stop: int) -> NDArray[np.float32]:
    """Columns ``start:stop`` of a matrix [out, in] as rows [stop - start, out]."""
    rows, width = tensor.shape
    result = np.empty((stop - start, rows), np.float32)
    for first, last in row_ranges(rows, 4 * width, CHUNK_BYTES):
        result[:, first:last] = tensor.read_rows(first, last)[:, start:stop].T
    return result


def _stream(
    name: str, read: ReadRows, start: int, stop: int, row_bytes: int, float16: bool
) -> Iterator[NDArray[np.generic]]:
    for first, last in row_ranges(stop - start, row_bytes, CHUNK_BYTES):
        rows = read(start + first, start + last)
        if not np.isfinite(rows).all():
            raise BadCheckpoint(f"tensor {name}: {NOT_FINITE}")
        if not float16:
            yield rows
            continue
        with np.errstate(over="ignore"):
            half = rows.astype(np.float16)
        if not np.isfinite(half).all():
            raise BadCheckpoint(f"tensor {name} has values that float16 cannot hold; convert with --dtype fp32")
        yield half
