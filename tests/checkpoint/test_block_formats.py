"""GGUF block formats: whatever the bytes are, they mean what ggml's own Python package says."""

import gguf
import numpy as np
import pytest

from convert.checkpoint.block_formats import BLOCK_FORMATS

FORMATS = pytest.mark.parametrize("block_format", BLOCK_FORMATS.values(), ids=BLOCK_FORMATS)
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}
"""Where each block holds its float16 numbers."""


def reference(raw, name):
    rows = raw.reshape(len(raw), -1)
    with np.errstate(all="ignore"):
        return gguf.dequantize(rows, gguf.GGMLQuantizationType[name])


def random_blocks(block_format, rows=16, blocks=3):
    return np.random.default_rng(5).integers(0, 256, (rows, blocks, block_format.block_bytes), np.uint8)


@FORMATS
def test_sizes_are_those_of_ggml(block_format):
    sizes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[block_format.name]]
    assert sizes == (block_format.stored_length, block_format.block_bytes)


@FORMATS
def test_random_bytes_decode_as_in_ggml(block_format):
    raw = random_blocks(block_format)
    blocks = block_format.decode(raw)
    assert np.array_equal(blocks.dequantize(), reference(raw, block_format.name), equal_nan=True)
    assert blocks.codes.shape == (16, 3 * block_format.stored_length // block_format.length, block_format.length)
    assert blocks.codes.max() == (1 << block_format.bits) - 1
    assert blocks.scale.shape == blocks.codes.shape[:2]
    assert blocks.scale.dtype == (np.float16 if block_format.float16_scales else np.float32)
    assert (blocks.offset is not None) == block_format.affine


@FORMATS
@pytest.mark.parametrize("scale", [0.0, -0.0, 6e-8, -6.1e-5, 65504.0, np.inf, -np.inf, np.nan])
def test_strange_scales_decode_as_in_ggml(block_format, scale):
    raw = random_blocks(block_format)
    for at in SCALES[block_format.name]:
        raw[..., at : at + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    expected = reference(raw, block_format.name)
    assert np.array_equal(block_format.decode(raw).dequantize(), expected, equal_nan=True)


@FORMATS
def test_zeros_are_zeros(block_format):
    raw = np.zeros((2, 1, block_format.block_bytes), np.uint8)
    assert not block_format.decode(raw).dequantize().any()
