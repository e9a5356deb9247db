"""The view in which weights that are no numbers are 0."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.checkpoint.finite import finite_view
from convert.checkpoint.quant_blocks import QuantBlocks
from convert.checkpoint.tensor import LazyTensor


@dataclass(frozen=True, eq=False)
class Stored(LazyTensor):
    values: NDArray[np.float32]
    blocks: QuantBlocks | None = None

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.values[start:stop].copy()

    def read_blocks(self, start: int, stop: int) -> QuantBlocks | None:
        return self.blocks


def test_numbers_stay_and_others_become_zero() -> None:
    found: set[str] = set()
    values = np.array([[1, np.nan], [-np.inf, 2], [3, 4]], np.float32)
    view = finite_view({"w": Stored("w", (3, 2), "F32", values)}, found)["w"]
    assert view.read_rows(2, 3).tolist() == [[3, 4]]
    assert not found
    assert view.renamed("v").read_floats(0, 2).tolist() == [[1, 0], [0, 2]]
    assert found == {"w"}


@pytest.mark.parametrize("affine", [False, True])
def test_blocks_whose_scale_or_offset_is_no_number_become_zero(affine: bool) -> None:
    found: set[str] = set()
    scale = np.array([[1, np.inf, 2]], np.float16)
    offset = np.array([[np.nan, 5, 6]], np.float16) if affine else None
    codes = np.full((1, 3, 32), 9, np.uint8)
    blocks = QuantBlocks(4, codes, 0 if affine else 8, scale, offset)
    view = finite_view({"w": Stored("w", (1, 96), "Q4_1", np.zeros((1, 96), np.float32), blocks)}, found)["w"]
    read = view.read_blocks(0, 1)
    assert read is not None
    weights = read.dequantize().reshape(3, 32)[:, 0].tolist()
    assert weights == ([0, 0, 24] if affine else [1, 0, 2])
    assert found == {"w"}
