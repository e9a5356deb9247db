"""Owns the search for scales: per block the one, of a few around the steepest, that loses least of what matters."""

import numpy as np
from numpy.typing import NDArray

from convert.quantize.blocks import FloatArray, as_stored, inverse, nearest, steepest_scale, stored_codes, to_blocks
from convert.quantize.round_to_nearest import pack_codes

FACTORS = {4: np.linspace(0.7, 1.2, 21), 8: np.linspace(0.96, 1.02, 4)}
"""Of the steepest scale: below 1 clips the largest weights of a block for the sake of the others."""


def best_scale(blocks: FloatArray, bits: int, importance: FloatArray | None = None) -> FloatArray:
    """Scales [n, blocks] with the least ``sum(importance * (w - scale * code)**2)`` among the candidates.

    Both signs are tried, because one end of the codes reaches further than the other. ``importance`` is [blocks,
    block_size], such as the mean square of what each column is multiplied with; None weighs all columns alike.

    Raises:
        BadCheckpoint: a weight is too large for a float16 scale.
    """
    steepest = steepest_scale(blocks, bits)
    best = as_stored(steepest)
    least = _loss(blocks, best, bits, importance)
    for factor in (sign * factor for factor in FACTORS[bits] for sign in (1, -1)):
        scale = as_stored(steepest * np.float32(factor))
        loss = _loss(blocks, scale, bits, importance)
        better = loss < least
        best[better], least[better] = scale[better], loss[better]
    return best


def _loss(blocks: FloatArray, scale: FloatArray, bits: int, importance: FloatArray | None) -> FloatArray:
    error = nearest(blocks, inverse(scale)[..., None], bits)
    error *= scale[..., None]
    error -= blocks
    np.square(error, out=error)
    if importance is None:
        importance = np.ones(blocks.shape[1:], np.float32)
    loss: FloatArray = np.einsum("nbi,bi->nb", error, importance)
    return loss


def search_rows(rows: NDArray[np.generic], bits: int, block_size: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Round ``rows`` [n, k] with searched scales: packed codes [n, blocks, block_size * bits / 8], scales [n, blocks].

    Raises:
        BadCheckpoint: a weight is not finite, or too large for a float16 scale.
    """
    blocks = to_blocks(rows, block_size)
    scale = best_scale(blocks, bits)
    codes = stored_codes(nearest(blocks, inverse(scale)[..., None], bits), bits)
    return pack_codes(codes, bits), scale.astype(np.float16)
