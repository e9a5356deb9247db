"""Owns tensors that lie in mapped files: how rows of dense numbers and of GGUF blocks are read."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

from convert.checkpoint.block_formats import BLOCK_FORMATS
from convert.checkpoint.mapped_file import MappedFile
from convert.checkpoint.quant_blocks import BlockFormat, QuantBlocks
from convert.checkpoint.tensor import LazyTensor

DENSE_DTYPES: dict[str, np.dtype[np.generic]] = {
    name: np.dtype(code)
    for name, code in dict[str, DTypeLike](
        F64="<f8",
        F32="<f4",
        F16="<f2",
        BF16=ml_dtypes.bfloat16,
        I64="<i8",
        I32="<i4",
        I16="<i2",
        I8="i1",
        U64="<u8",
        U32="<u4",
        U16="<u2",
        U8="u1",
        BOOL="u1",
    ).items()
}
"""Names as safetensors writes them, and their numpy types."""

_FLOATS = ("F32", "F16", "BF16")
"""What read_floats gives as stored."""
_CHUNK_ELEMENTS = 1 << 20
"""Weights that are decoded at a time: 4 MiB of float32, so that temporaries stay small and in cache."""


@dataclass(frozen=True, eq=False)
class _StoredTensor(LazyTensor):
    """A tensor that lies in one piece at ``offset`` of ``file``; the reader of the file has checked that it does."""

    file: MappedFile
    offset: int

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        self._check(start, stop)
        row_shape = self.shape[1:]
        rows = np.empty((stop - start, *row_shape), np.float32)
        step = max(1, _CHUNK_ELEMENTS // max(1, math.prod(row_shape)))
        for first in range(start, stop, step) if rows.size else ():
            last = min(first + step, stop)
            self._decode(first, last, rows[first - start : last - start])
        return rows

    @abstractmethod
    def _decode(self, start: int, stop: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` with rows ``start`` to ``stop`` and release their pages."""


@dataclass(frozen=True, eq=False)
class DenseTensor(_StoredTensor):
    """A tensor of numbers; ``dtype`` is a key of DENSE_DTYPES."""

    def read_floats(self, start: int, stop: int) -> NDArray[np.generic]:
        """Rows ``start`` to ``stop`` as they are stored, if that is F32, F16 or BF16."""
        if self.dtype not in _FLOATS:
            return self.read_rows(start, stop)
        self._check(start, stop)
        rows = np.empty((stop - start, *self.shape[1:]), DENSE_DTYPES[self.dtype])
        self._copy(start, stop, rows)
        return rows

    def _decode(self, start: int, stop: int, out: NDArray[np.float32]) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self._copy(start, stop, out)

    def _copy(self, start: int, stop: int, out: NDArray[np.generic]) -> None:
        dtype = DENSE_DTYPES[self.dtype]
        row_bytes = math.prod(self.shape[1:]) * dtype.itemsize
        offset, size_bytes = self.offset + start * row_bytes, (stop - start) * row_bytes
        np.copyto(out, self.file.view(offset, size_bytes).view(dtype).reshape(out.shape), casting="unsafe")
        self.file.release(offset, size_bytes)


@dataclass(frozen=True, eq=False)
class BlockTensor(_StoredTensor):
    """A matrix [N, K], or more of them, in GGUF blocks; ``dtype`` is a key of BLOCK_FORMATS, K full blocks long."""

    @property
    def block_format(self) -> BlockFormat | None:
        """Format of a matrix; None when there are more axes."""
        return BLOCK_FORMATS[self.dtype] if len(self.shape) == 2 else None

    def read_blocks(self, start: int, stop: int) -> QuantBlocks | None:
        """Rows ``start`` to ``stop`` as stored."""
        self._check(start, stop)
        return self._blocks(start, stop) if self.block_format else None

    def _decode(self, start: int, stop: int, out: NDArray[np.float32]) -> None:
        out[...] = self._blocks(start, stop).dequantize().reshape(out.shape)

    def _blocks(self, start: int, stop: int) -> QuantBlocks:
        stored = BLOCK_FORMATS[self.dtype]
        row_blocks = math.prod(self.shape[1:]) // stored.stored_length
        row_bytes = row_blocks * stored.block_bytes
        offset, size_bytes = self.offset + start * row_bytes, (stop - start) * row_bytes
        raw = self.file.view(offset, size_bytes).reshape(stop - start, row_blocks, stored.block_bytes)
        blocks = stored.decode(raw)
        del raw
        self.file.release(offset, size_bytes)
        return blocks
