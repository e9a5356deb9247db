"""Owns the description of one graph initializer whose bytes are produced only when they are written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

ITEM_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.UINT8: 1,
    TensorProto.INT64: 8,
}


@dataclass(frozen=True)
class Initializer:
    """A constant tensor of the graph.

    ``chunks`` yields C-contiguous arrays whose bytes, one after the other, are the tensor in little-endian ONNX
    ``raw_data`` layout; together they hold ``nbytes`` bytes.
    """

    name: str
    shape: tuple[int, ...]
    onnx_dtype: int
    chunks: Callable[[], Iterator[NDArray[np.generic]]]

    @property
    def nbytes(self) -> int:
        """Size of the tensor in bytes."""
        return prod(self.shape) * ITEM_BYTES[self.onnx_dtype]
