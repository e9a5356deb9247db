"""Block-quantized initializers: blocks that fit are kept, others are rounded anew, and either is said."""

from dataclasses import dataclass

import numpy as np
import pytest

from convert.checkpoint.block_formats import BLOCK_FORMATS
from convert.checkpoint.quant_blocks import BlockFormat, QuantBlocks
from convert.checkpoint.tensor import LazyTensor
from convert.errors import BadCheckpoint
from convert.quantize.compensations import Compensations
from convert.quantize.nbits import Import, NbitsWeight
from convert.quantize.recipe import TensorFormat

ROWS, WIDTH = 24, 512
KEPT = {
    (4, 32): {"Q4_0": "lossless", "Q4_1": "lossless", "Q4_K": "rounded_scales"},
    (8, 32): {"Q4_0": "lossless", "Q5_0": "lossless", "Q8_0": "lossless"},
    (4, 16): {"Q2_K": "rounded_scales", "Q3_K": "rounded_scales"},
    (8, 16): {"Q3_K": "rounded_scales", "Q6_K": "rounded_scales"},
    (4, 64): {},
}
"""By bits and block size: the formats whose codes are kept."""


@dataclass(frozen=True, eq=False)
class StoredMatrix(LazyTensor):
    """Random blocks of a format, with scales as models have them."""

    stored: BlockFormat
    raw: np.ndarray

    @property
    def block_format(self) -> BlockFormat:
        return self.stored

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        return self.stored.decode(self.raw[start:stop]).dequantize()

    def read_blocks(self, start: int, stop: int) -> QuantBlocks:
        return self.stored.decode(self.raw[start:stop])


def stored_matrix(name: str, scale: float = 0.003) -> StoredMatrix:
    stored = BLOCK_FORMATS[name]
    raw = np.random.default_rng(3).integers(0, 256, (ROWS, WIDTH // stored.stored_length, stored.block_bytes), np.uint8)
    at = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}.get(name, (0, 2) if stored.affine else (0,))
    for position in at:
        raw[..., position : position + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return StoredMatrix("w", (ROWS, WIDTH), name, stored, raw)


def dequantized(weight: NbitsWeight) -> np.ndarray:
    """What MatMulNBits and the correction make of the initializers, in float64."""

    def content(initializer, dtype):
        pieces = [piece.reshape(-1) for piece in initializer.chunks()]
        return np.concatenate(pieces).view(dtype).reshape(initializer.shape)

    codes = np.concatenate([content(part, np.uint8) for part in weight.codes()])
    if weight.bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(ROWS, -1, weight.block_size)
    scale = content(weight.scale(), np.float16).astype(np.float64)[..., None]
    if weight.affine:
        values = codes * scale + content(weight.offset(), np.float16).astype(np.float64)[..., None]
    else:
        values = (codes.astype(np.float64) - (1 << (weight.bits - 1))) * scale
    return values.reshape(ROWS, -1)


@pytest.mark.parametrize("name", BLOCK_FORMATS)
@pytest.mark.parametrize(("bits", "block_size"), KEPT)
def test_blocks_that_fit_are_kept_and_others_rounded_once(name, bits, block_size):
    tensor = stored_matrix(name)
    weight = NbitsWeight(tensor, TensorFormat(bits, block_size), Compensations())
    assert weight.imported == KEPT[bits, block_size].get(name, "requantized")
    weights = tensor.read().astype(np.float64)
    error = np.abs(dequantized(weight) - weights)
    if weight.imported is Import.LOSSLESS:
        # Exact but for the float32 in which the reference itself multiplies and adds.
        assert error.max() <= 2**-23 * np.abs(weights).max()
    elif weight.imported is Import.ROUNDED_SCALES:
        codes = tensor.read_blocks(0, ROWS)
        parts = np.abs(codes.scale)[..., None] * np.abs(codes.codes.astype(np.float64) - codes.zero)
        parts += 0 if codes.offset is None else np.abs(codes.offset)[..., None]
        assert (error <= parts.reshape(ROWS, WIDTH) * 2**-11 + 2**-20).all()
    else:
        largest = np.abs(weights).reshape(ROWS, -1, block_size).max(axis=-1).repeat(block_size, axis=-1)
        # One step where the largest magnitude has both signs, and the float16 rounding of the scale.
        assert (error <= largest * 1.1 / (1 << (bits - 1))).all()


def test_rounded_scales_cost_a_thousandth_of_what_rounding_anew_costs():
    tensor = stored_matrix("Q4_K")
    weights = tensor.read()
    kept = dequantized(NbitsWeight(tensor, TensorFormat(4, 32), Compensations())) - weights
    again = dequantized(NbitsWeight(tensor, TensorFormat(4, 16), Compensations())) - weights
    assert (kept**2).sum() < 1e-3 * (again**2).sum()


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q4_K"])
@pytest.mark.parametrize("scale", [np.inf, np.nan])
def test_rejects_scales_that_are_no_numbers(name, scale):
    weight = NbitsWeight(stored_matrix(name, scale), TensorFormat(4, 32), Compensations())
    with pytest.raises(BadCheckpoint, match="tensor w: a block has a scale that is NaN, infinite or too large"):
        dequantized(weight)


def test_rejects_products_that_float16_cannot_hold():
    with pytest.raises(BadCheckpoint, match="too large for float16"):
        dequantized(NbitsWeight(stored_matrix("Q4_K", 60000.0), TensorFormat(4, 32), Compensations()))
