"""Owns the GGUF block formats: one table row each, and the functions that unpack their bytes.

Source: the structures block_q4_0 to block_q6_K in ggml-common.h. Blocks of 32 weights begin with a float16 scale;
those of 256 ("K") multiply one float16 scale by small integers, one per 16 or 32 weights.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from convert.checkpoint.quant_blocks import BlockFormat, Unpacked

Bytes = NDArray[np.uint8]
_SUPER_BLOCK = 256


def _half(raw: Bytes, at: int) -> NDArray[np.float16]:
    """The float16 at byte ``at`` of each block, [rows, blocks]."""
    return raw[..., at : at + 2].copy().view("<f2")[..., 0]


def _fields(raw: Bytes, bits: int) -> Bytes:
    """Each byte cut into fields of ``bits``, the lowest first: [..., n] -> [..., 8 / bits, n]."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return raw[..., None, :] >> shifts[:, None] & np.uint8((1 << bits) - 1)


def _flat(parts: Bytes, length: int) -> Bytes:
    """[rows, blocks, ...] as codes [rows, blocks * n, length]."""
    return parts.reshape(len(parts), -1, length)


def _unpack_32(raw: Bytes, *, bits: int, affine: bool) -> Unpacked:
    """Scale, minimum if ``affine``, at 5 bits the high bits of all weights, then nibbles (or bytes, at 8 bits)."""
    offset, start = (_half(raw, 2), 4) if affine else (None, 2)
    if bits == 8:
        return raw[..., start:] ^ np.uint8(0x80), _half(raw, 0), offset  # int8 + 128 as uint8
    codes = _flat(_fields(raw[..., -16:], 4), 32)
    if bits == 5:
        codes |= np.unpackbits(raw[..., start : start + 4], axis=-1, bitorder="little") << np.uint8(4)
    return codes, _half(raw, 0), offset


def _products(scale: NDArray[np.float16], factors: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float32]:
    """``scale`` [rows, blocks] times ``factors`` [rows, blocks, n], as [rows, blocks * n]."""
    product: NDArray[np.float32] = scale.astype(np.float32)[..., None] * factors.astype(np.float32)
    return product.reshape(len(product), -1)


def _six_bit_pairs(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Scales and minima, 8 each, of the 12 bytes in which Q4_K and Q5_K pack them (get_scale_min_k4)."""
    low, middle, high = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    six, two = np.uint8(63), np.uint8(0x30)
    scales = np.concatenate([low & six, high & 15 | low >> 2 & two], axis=-1)
    return scales, np.concatenate([middle & six, high >> 4 | middle >> 2 & two], axis=-1)


def _unpack_q2_k(raw: Bytes) -> Unpacked:
    factors = _fields(raw[..., :16], 4)
    codes = _fields(raw[..., 16:80].reshape(*raw.shape[:-1], 2, 32), 2)
    return (
        _flat(codes, 16),
        _products(_half(raw, 80), factors[..., 0, :]),
        -_products(_half(raw, 82), factors[..., 1, :]),
    )


def _unpack_q3_k(raw: Bytes) -> Unpacked:
    codes = _fields(raw[..., 32:96].reshape(*raw.shape[:-1], 2, 32), 2)
    codes = codes.reshape(*raw.shape[:-1], 8, 32) | _fields(raw[..., :32], 1) << np.uint8(2)
    low = _fields(raw[..., 96:104], 4).reshape(*raw.shape[:-1], 16)
    high = _fields(raw[..., 104:108], 2).reshape(*raw.shape[:-1], 16)
    factors = (low | high << np.uint8(4)).astype(np.int8) - np.int8(32)
    return _flat(codes, 16), _products(_half(raw, 108), factors), None


def _unpack_k_pairs(raw: Bytes, *, bits: int) -> Unpacked:
    """Q4_K and Q5_K: scale, scale of the minima, 8 six-bit pairs, at 5 bits the high bits, nibbles."""
    factors, minima = _six_bit_pairs(raw[..., 4:16])
    codes = _fields(raw[..., -128:].reshape(*raw.shape[:-1], 4, 32), 4).reshape(*raw.shape[:-1], 8, 32)
    if bits == 5:
        codes |= _fields(raw[..., 16:48], 1) << np.uint8(4)
    return _flat(codes, 32), _products(_half(raw, 0), factors), -_products(_half(raw, 2), minima)


def _unpack_q6_k(raw: Bytes) -> Unpacked:
    low = _fields(raw[..., :128].reshape(*raw.shape[:-1], 2, 64), 4).reshape(*raw.shape[:-1], 8, 32)
    high = _fields(raw[..., 128:192].reshape(*raw.shape[:-1], 2, 32), 2).reshape(*raw.shape[:-1], 8, 32)
    factors = raw[..., 192:208].view(np.int8)
    return _flat(low | high << np.uint8(4), 16), _products(_half(raw, 208), factors), None


def _of_32(name: str, bits: int, *, affine: bool) -> BlockFormat:
    return BlockFormat(
        name=name,
        bits=bits,
        zero=0 if affine else 1 << (bits - 1),
        affine=affine,
        length=32,
        stored_length=32,
        block_bytes=(4 if affine else 2) + 4 * bits,
        unpack=partial(_unpack_32, bits=bits, affine=affine),
    )


def _of_256(
    name: str, bits: int, length: int, block_bytes: int, unpack: Callable[[Bytes], Unpacked], *, affine: bool
) -> BlockFormat:
    zero = 0 if affine else 1 << (bits - 1)
    return BlockFormat(name, bits, zero, affine, length, _SUPER_BLOCK, block_bytes, unpack)


BLOCK_FORMATS = {
    block_format.name: block_format
    for block_format in (
        _of_32("Q4_0", 4, affine=False),
        _of_32("Q4_1", 4, affine=True),
        _of_32("Q5_0", 5, affine=False),
        _of_32("Q5_1", 5, affine=True),
        _of_32("Q8_0", 8, affine=False),
        _of_256("Q2_K", 2, 16, 84, _unpack_q2_k, affine=True),
        _of_256("Q3_K", 3, 16, 110, _unpack_q3_k, affine=False),
        _of_256("Q4_K", 4, 32, 144, partial(_unpack_k_pairs, bits=4), affine=True),
        _of_256("Q5_K", 5, 32, 176, partial(_unpack_k_pairs, bits=5), affine=True),
        _of_256("Q6_K", 6, 16, 210, _unpack_q6_k, affine=False),
    )
}
"""By their names in enum ggml_type."""
