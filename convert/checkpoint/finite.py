"""Owns the view of a checkpoint in which weights that are NaN or infinite are 0."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.checkpoint.quant_blocks import BlockFormat, QuantBlocks
from convert.checkpoint.tensor import LazyTensor


def finite_view(tensors: Mapping[str, LazyTensor], found: set[str]) -> dict[str, LazyTensor]:
    """The tensors by name; those in which a weight was replaced enter ``found`` when they are read."""
    return {name: _Finite(name, item.shape, item.dtype, item, found) for name, item in tensors.items()}


@dataclass(frozen=True, eq=False)
class _Finite(LazyTensor):
    source: LazyTensor
    found: set[str]

    @property
    def block_format(self) -> BlockFormat | None:
        return self.source.block_format

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        return self._cleared(self.source.read_rows(start, stop))

    def read_floats(self, start: int, stop: int) -> NDArray[np.generic]:
        return self._cleared(self.source.read_floats(start, stop))

    def read_blocks(self, start: int, stop: int) -> QuantBlocks | None:
        """Blocks of which scale or offset is no number become blocks of zeros."""
        blocks = self.source.read_blocks(start, stop)
        if blocks is None:
            return None
        broken = ~np.isfinite(blocks.scale)
        if blocks.offset is not None:
            broken |= ~np.isfinite(blocks.offset)
        if not broken.any():
            return blocks
        self.found.add(self.source.name)
        offset = None if blocks.offset is None else np.where(broken, blocks.offset.dtype.type(0), blocks.offset)
        return replace(blocks, scale=np.where(broken, blocks.scale.dtype.type(0), blocks.scale), offset=offset)

    def _cleared(self, weights: NDArray[Any]) -> NDArray[Any]:
        broken = ~np.isfinite(weights)
        if broken.any():
            self.found.add(self.source.name)
            weights[broken] = 0
        return weights
