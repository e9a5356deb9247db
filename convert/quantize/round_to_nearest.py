"""Owns round-to-nearest block quantization: symmetric codes around a fixed zero point, one float16 scale a block."""

import numpy as np
from numpy.typing import NDArray

from convert.errors import NOT_FINITE, BadCheckpoint


def quantize_blocks(
    rows: NDArray[np.float32], bits: int, block_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Quantize ``rows`` [n, k] to codes [n, ceil(k / block_size), block_size] and scales [n, blocks].

    ``w = scale * (code - 2**(bits-1))``, as MatMulNBits reads weights without zero points. The scale maps the
    largest magnitude of a block onto the end of the range that has one code more (-8 of -8..7), and codes are
    chosen after the scale was rounded to float16. The last block is padded with zeros.

    Raises:
        BadCheckpoint: a weight is not finite, or too large for a float16 scale.
    """
    count, width = rows.shape
    blocks = -(-width // block_size)
    if blocks * block_size != width:
        rows = np.pad(rows, ((0, 0), (0, blocks * block_size - width)))
    grouped = rows.reshape(count, blocks, block_size)
    highest = grouped.max(axis=-1)
    lowest = grouped.min(axis=-1)
    if not (np.isfinite(highest).all() and np.isfinite(lowest).all()):
        raise BadCheckpoint(NOT_FINITE)
    zero = 1 << (bits - 1)
    with np.errstate(over="ignore"):
        scale = (np.where(highest > -lowest, highest, lowest) / -zero).astype(np.float16) + np.float16(0)  # no -0
    if not np.isfinite(scale).all():
        raise BadCheckpoint(
            f"a weight has the magnitude {max(highest.max(), -lowest.min()):.3g}, too large for a float16 scale; "
            "convert with --dtype fp32"
        )
    exact = scale.astype(np.float32)
    inverse = np.divide(1.0, exact, out=np.zeros_like(exact), where=exact != 0)
    codes = np.rint(grouped * inverse[..., None])
    codes += zero
    np.clip(codes, 0, 2 * zero - 1, out=codes)
    return codes.astype(np.uint8), scale


def pack_codes(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Pack codes [..., block_size] to [..., block_size * bits / 8]; at 4 bits the even element is the low nibble."""
    if bits == 8:
        return codes
    packed: NDArray[np.uint8] = codes[..., 0::2] | (codes[..., 1::2] << np.uint8(4))
    return packed


def unpack_weights(packed: NDArray[np.uint8], scale: NDArray[np.float16], bits: int, width: int) -> NDArray[np.float32]:
    """What packed codes [n, blocks, block_size * bits / 8] and scales [n, blocks] stand for: weights [n, width]."""
    codes = packed
    if bits != 8:
        codes = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1).reshape(*packed.shape[:2], -1)
    weights = codes.astype(np.float32)
    weights -= np.float32(1 << (bits - 1))
    weights *= scale.astype(np.float32)[..., None]
    return weights.reshape(len(weights), -1)[:, :width]
