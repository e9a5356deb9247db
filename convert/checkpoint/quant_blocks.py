"""Owns quantized weights as they are stored: codes, scales and offsets, and what a format says before it is read."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Scales = NDArray[np.float16] | NDArray[np.float32]
Unpacked = tuple[NDArray[np.uint8], Scales, Scales | None]
"""Codes [rows, blocks, length], scales and offsets [rows, blocks]."""


@dataclass(frozen=True)
class BlockFormat:
    """A GGUF block format: ``w = scale * (code - zero)``, plus an offset where it is ``affine``."""

    name: str
    bits: int
    """Of one code: codes are below ``1 << bits``."""
    zero: int
    """Code of weight 0; 0 where the format is affine."""
    affine: bool
    length: int
    """Weights that share one scale."""
    stored_length: int
    """Weights of one stored block: ``length``, or 256 where a block holds several scales."""
    block_bytes: int
    """Bytes of one stored block."""
    unpack: Callable[[NDArray[np.uint8]], Unpacked]
    """Takes stored blocks [rows, blocks, block_bytes]."""

    @property
    def float16_scales(self) -> bool:
        """Whether scales and offsets are float16 as stored; in blocks of several they are products, float32."""
        return self.length == self.stored_length

    def decode(self, raw: NDArray[np.uint8]) -> "QuantBlocks":
        """Stored blocks [rows, blocks, block_bytes] as new arrays."""
        # A damaged scale may be infinite or NaN: it stays that, and is no reason to warn here.
        with np.errstate(invalid="ignore", over="ignore"):
            codes, scale, offset = self.unpack(raw)
        return QuantBlocks(self.bits, codes, self.zero, scale, offset)


@dataclass(frozen=True, eq=False)
class QuantBlocks:
    """Rows of a quantized matrix exactly as stored.

    ``w[n, b*L+i] = scale[n,b] * (codes[n,b,i] - zero) + offset[n,b]`` with blocks of ``L`` weights.
    """

    bits: int
    """2 to 8."""
    codes: NDArray[np.uint8]
    """[rows, K/L, L], below ``1 << bits``."""
    zero: int
    """Code of weight 0, such as 8 for Q4_0."""
    scale: Scales
    """[rows, K/L]; float32 where the format stores it as a product."""
    offset: Scales | None
    """[rows, K/L]; None for the symmetric formats."""

    def dequantize(self) -> NDArray[np.float32]:
        """The weights, [rows, K], with the one float32 rounding per operation that ggml does."""
        # A damaged scale may be infinite or NaN: that is the weight then, and not a reason to warn here.
        with np.errstate(invalid="ignore", over="ignore"):
            weights = self.codes.astype(np.float32)
            weights -= np.float32(self.zero)
            weights *= self.scale.astype(np.float32)[..., None]
            if self.offset is not None:
                weights += self.offset.astype(np.float32)[..., None]
        rows, blocks, length = weights.shape
        return weights.reshape(rows, blocks * length)

    def take(self, rows: NDArray[np.intp]) -> "QuantBlocks":
        """The given rows in the given order."""
        offset = None if self.offset is None else self.offset[rows]
        return replace(self, codes=self.codes[rows], scale=self.scale[rows], offset=offset)
