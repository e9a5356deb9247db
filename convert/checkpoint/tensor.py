"""Owns the lazy tensor: a name, a shape and a way to read some rows, and the lazy views of other tensors."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convert.checkpoint.quant_blocks import BlockFormat, QuantBlocks

_TRANSPOSED_ELEMENTS = 1 << 20
"""Of the source, read at a time."""


@dataclass(frozen=True, eq=False)
class LazyTensor(ABC):
    """A tensor of which only name, shape and dtype are in memory.

    A row is an index of the first axis: an element of a 1-D tensor; a scalar has one row.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    """As stored: "F32", "F16", "BF16", "I64", "Q8_0", "Q4_K", ...; a computed view is "F32"."""

    @property
    def rows(self) -> int:
        """Length of the first axis."""
        return self.shape[0] if self.shape else 1

    @property
    def block_format(self) -> BlockFormat | None:
        """What read_blocks will give, or None when it gives nothing; reads nothing."""
        return None

    @abstractmethod
    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` as a new C-contiguous array [stop-start, *shape[1:]].

        Quantized weights are dequantized exactly; integers and float64 are rounded to float32.
        """

    def read_floats(self, start: int, stop: int) -> NDArray[np.generic]:
        """Rows ``start`` to ``stop`` as read_rows gives them, but as float16 or bfloat16 where they are stored so."""
        return self.read_rows(start, stop)

    def read(self) -> NDArray[np.float32]:
        """The whole tensor, of its shape."""
        return self.read_rows(0, self.rows).reshape(self.shape)

    def read_blocks(self, start: int, stop: int) -> QuantBlocks | None:
        """Rows ``start`` to ``stop`` as stored, or None when block_format is None."""
        return None

    def renamed(self, name: str) -> "LazyTensor":
        """The same tensor under another name."""
        return replace(self, name=name)

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.rows:
            raise ValueError(f"rows {start} to {stop} of {self.name}, which has {self.rows}")


def permute_rows(source: LazyTensor, order: NDArray[np.intp]) -> LazyTensor:
    """View whose row r is row ``order[r]`` of ``source``; cheap when nearby rows stay near each other."""
    if order.shape != (source.rows,):
        raise ValueError(f"an order of shape {order.shape} for {source.rows} rows")
    return _PermutedRows(source.name, source.shape, source.dtype, source, order)


def slice_rows(source: LazyTensor, start: int, stop: int) -> LazyTensor:
    """View of rows ``start`` to ``stop`` of ``source``."""
    if not 0 <= start <= stop <= source.rows:
        raise ValueError(f"rows {start} to {stop} of {source.name}, which has {source.rows}")
    return _SlicedRows(source.name, (stop - start, *source.shape[1:]), source.dtype, source, start)


def transpose(source: LazyTensor) -> LazyTensor:
    """View of a matrix whose rows are the columns of ``source``; every read passes over the whole of it."""
    rows, width = source.shape
    return _Transposed(source.name, (width, rows), "F32", source)


def add(left: LazyTensor, right: LazyTensor) -> LazyTensor:
    """View of ``left + right`` in float32; ``right`` has the shape of left, or broadcasts to each of its rows."""
    if np.broadcast_shapes(left.shape, right.shape) != left.shape:
        raise ValueError(f"shapes {left.shape} and {right.shape} do not add up to the first")
    return _Sum(left.name, left.shape, "F32", left, right)


def shift(source: LazyTensor, amount: float) -> LazyTensor:
    """View of ``source + amount`` in float32."""
    return _Shifted(source.name, source.shape, "F32", source, np.float32(amount))


@dataclass(frozen=True, eq=False)
class _PermutedRows(LazyTensor):
    source: LazyTensor
    order: NDArray[np.intp]

    @property
    def block_format(self) -> BlockFormat | None:
        return self.source.block_format

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        low, high, rows = self._span(start, stop)
        return self.source.read_rows(low, high)[rows]

    def read_floats(self, start: int, stop: int) -> NDArray[np.generic]:
        low, high, rows = self._span(start, stop)
        return self.source.read_floats(low, high)[rows]

    def read_blocks(self, start: int, stop: int) -> QuantBlocks | None:
        low, high, rows = self._span(start, stop)
        blocks = self.source.read_blocks(low, high)
        return None if blocks is None else blocks.take(rows)

    def _span(self, start: int, stop: int) -> tuple[int, int, NDArray[np.intp]]:
        """First and last + 1 row of the source that are needed, and which of those in which order."""
        self._check(start, stop)
        wanted = self.order[start:stop]
        if not wanted.size:
            return 0, 0, wanted
        low = int(wanted.min())
        return low, int(wanted.max()) + 1, wanted - low


@dataclass(frozen=True, eq=False)
class _SlicedRows(LazyTensor):
    source: LazyTensor
    first: int

    @property
    def block_format(self) -> BlockFormat | None:
        return self.source.block_format

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        self._check(start, stop)
        return self.source.read_rows(self.first + start, self.first + stop)

    def read_floats(self, start: int, stop: int) -> NDArray[np.generic]:
        self._check(start, stop)
        return self.source.read_floats(self.first + start, self.first + stop)

    def read_blocks(self, start: int, stop: int) -> QuantBlocks | None:
        self._check(start, stop)
        return self.source.read_blocks(self.first + start, self.first + stop)


@dataclass(frozen=True, eq=False)
class _Transposed(LazyTensor):
    source: LazyTensor

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        self._check(start, stop)
        width, rows = self.shape
        columns = np.empty((stop - start, rows), np.float32)
        step = max(1, _TRANSPOSED_ELEMENTS // max(1, width))
        for first in range(0, rows, step):
            last = min(rows, first + step)
            columns[:, first:last] = self.source.read_rows(first, last)[:, start:stop].T
        return columns


@dataclass(frozen=True, eq=False)
class _Sum(LazyTensor):
    left: LazyTensor
    right: LazyTensor

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        total = self.left.read_rows(start, stop)
        row_by_row = len(self.right.shape) == len(self.shape) and self.right.rows == self.rows
        total += self.right.read_rows(start, stop) if row_by_row else self.right.read()
        return total


@dataclass(frozen=True, eq=False)
class _Shifted(LazyTensor):
    source: LazyTensor
    amount: np.float32

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        rows = self.source.read_rows(start, stop)
        rows += self.amount
        return rows
