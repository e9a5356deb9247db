"""Owns what searches for scales and GPTQ share: rows cut into blocks, finite weights, scales as float16, codes."""

import numpy as np
from numpy.typing import NDArray

from convert.errors import BadCheckpoint

FloatArray = NDArray[np.float32]


def to_blocks(rows: NDArray[np.generic], block_size: int) -> FloatArray:
    """``rows`` [n, k] as float32 [n, ceil(k / block_size), block_size], the last block padded with zeros.

    Raises:
        BadCheckpoint: a weight is not finite.
    """
    count, width = rows.shape
    blocks = -(-width // block_size)
    floats = rows.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise BadCheckpoint("a weight is NaN or infinite, which no quantized format can hold; repair the checkpoint")
    if blocks * block_size != width:
        floats = np.pad(floats, ((0, 0), (0, blocks * block_size - width)))
    return floats.reshape(count, blocks, block_size)


def steepest_scale(blocks: FloatArray, bits: int) -> FloatArray:
    """Scales [...] that map each block's largest magnitude onto the end of the codes that has one code more.

    Raises:
        BadCheckpoint: a weight is too large for a float16 scale.
    """
    highest, lowest = blocks.max(axis=-1), blocks.min(axis=-1)
    scale = np.where(highest > -lowest, highest, lowest) / np.float32(-(1 << (bits - 1)))
    if np.abs(scale).max(initial=0) > np.finfo(np.float16).max:
        raise BadCheckpoint(
            f"a weight has the magnitude {np.abs(blocks).max():.3g}, too large for a float16 scale; "
            "convert with --dtype fp32"
        )
    result: FloatArray = scale.astype(np.float32)
    return result


def as_stored(scale: FloatArray) -> FloatArray:
    """``scale`` as float16 holds it, so that codes are chosen for what will be read; too large ones are cut."""
    limit = np.float32(np.finfo(np.float16).max)
    # No negative zero: a block of zeros has one spelling.
    stored: FloatArray = np.clip(scale, -limit, limit).astype(np.float16).astype(np.float32) + np.float32(0)
    return stored


def inverse(scale: FloatArray) -> FloatArray:
    """``1 / scale``, and 0 for 0."""
    result: FloatArray = np.divide(np.float32(1.0), scale, out=np.zeros_like(scale), where=scale != 0)
    return result


def nearest(values: FloatArray, inverse_scale: FloatArray, bits: int) -> FloatArray:
    """Signed codes of ``values``: -2**(bits-1) to 2**(bits-1) - 1, as floats."""
    zero = 1 << (bits - 1)
    codes = np.rint(values * inverse_scale)
    result: FloatArray = np.clip(codes, -zero, zero - 1, out=codes)
    return result


def stored_codes(signed: FloatArray, bits: int) -> NDArray[np.uint8]:
    """Signed codes as MatMulNBits stores them, around its fixed zero point."""
    return (signed + np.float32(1 << (bits - 1))).astype(np.uint8)
