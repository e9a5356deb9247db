"""Holds the block-quantized products to the scalar reference and to exact arithmetic in numpy."""

import numpy as np
import pytest

from tests.kernels.native_kernels import OFFSETS, SYMMETRIC, ZERO_POINTS, NbitsMatrix, stored_zero_points

FORMATS = [(4, SYMMETRIC), (4, OFFSETS), (4, ZERO_POINTS), (8, SYMMETRIC), (8, ZERO_POINTS)]
SHAPES = [(1, 1, 1), (1, 32, 8), (1, 40, 9), (1, 576, 72), (1, 96, 333), (2, 64, 16), (5, 100, 37), (33, 64, 24)]


def activations(rng, rows: int, inner: int, kind: str) -> np.ndarray:
    x = rng.standard_normal((rows, inner)).astype(np.float32)
    if kind == "zeros":
        x[:] = 0
    elif kind == "denormal":
        x *= np.float32(1e-42)
    elif kind == "huge":
        x *= np.float32(1e30)
    elif kind == "spikes":
        x[:, ::7] *= 1000
    elif kind == "equal":
        x[:] = -3.5
    return x


def typical_products(matrix: NbitsMatrix, x: np.ndarray) -> np.ndarray:
    """What independent rows and columns of these lengths add up to."""
    return np.linalg.norm(x.astype(np.float64), axis=1)[:, None] * np.linalg.norm(matrix.dequantized(), axis=1)


@pytest.mark.parametrize(("bits", "affine"), FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["normal", "zeros", "denormal", "huge", "spikes", "equal"])
def test_matches_reference(kernels, rng, bits, affine, shape, kind):
    rows, inner, columns = shape
    matrix = NbitsMatrix.random(rng, columns, inner, bits, affine=affine)
    x = activations(rng, rows, inner, kind)
    expected = kernels.reference(matrix, x)
    if rows == 1:
        allowed = 3e-6 * np.abs(x).max() * np.abs(matrix.dequantized()).sum(1).max()
    else:  # weights are rounded too: to vectors of 16-bit codes that are 46,300 long at most
        allowed = 5e-4 * typical_products(matrix, x)
    assert (np.abs(kernels.matmul(matrix, x) - expected) <= allowed + 1e-35).all()


@pytest.mark.parametrize(("bits", "affine"), FORMATS)
def test_is_close_to_exact_product(kernels, rng, bits, affine):
    matrix = NbitsMatrix.random(rng, 64, 576, bits, affine=affine)
    x = rng.standard_normal((9, 576)).astype(np.float32)
    exact = x.astype(np.float64) @ matrix.dequantized().T
    error = np.linalg.norm(kernels.matmul(matrix, x) - exact) / np.linalg.norm(exact)
    assert error < 1e-2


@pytest.mark.parametrize(("bits", "affine"), FORMATS)
@pytest.mark.parametrize("rows", [1, 6])
def test_column_ranges_give_the_same_bits(kernels, rng, bits, affine, rows):
    matrix = NbitsMatrix.random(rng, 83, 160, bits, affine=affine)
    x = rng.standard_normal((rows, 160)).astype(np.float32)
    np.testing.assert_array_equal(kernels.matmul(matrix, x), kernels.matmul(matrix, x, cuts=(1, 4, 9)))


@pytest.mark.parametrize("bits", [4, 8])
def test_rows_of_many_tiles_are_those_of_each_alone(kernels, rng, bits):
    matrix = NbitsMatrix.random(rng, 19, 80, bits, affine=0)
    x = rng.standard_normal((2 * 128 + 3, 80)).astype(np.float32)
    blocks = np.zeros((len(x), 3, kernels.activation_block_bytes()), np.uint8)
    for begin in range(0, len(x), 20):  # as threads do it, a few rows at a time
        kernels.quantize_rows(x, 80, blocks, len(x), 80, bits, begin, min(begin + 20, len(x)))
    np.testing.assert_array_equal(blocks, kernels.quantize(x, bits))
    pairs = [kernels.matmul(matrix, x[at : at + 2]) for at in range(0, len(x) - 1, 2)]
    np.testing.assert_array_equal(kernels.matmul(matrix, x)[:-1], np.concatenate(pairs))


@pytest.mark.parametrize(("bits", "affine"), FORMATS)
def test_a_lone_row_gives_what_it_gives_among_others(kernels, rng, bits, affine):
    matrix = NbitsMatrix.random(rng, 75, 288, bits, affine=affine)
    x = rng.standard_normal((5, 288)).astype(np.float32)
    together = kernels.matmul(matrix, x)
    alone = np.concatenate([kernels.matmul(matrix, row[None]) for row in x])
    assert (np.abs(alone - together) <= 3e-4 * typical_products(matrix, x)).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("rows", [1, 3])
def test_columns_of_zeros_give_zeros(kernels, rng, bits, rows):
    matrix = NbitsMatrix.random(rng, 9, 160, bits)
    matrix.scales[3] = 0
    x = np.full((rows, 160), 1e30, np.float32)
    assert (kernels.matmul(matrix, x)[:, 3] == 0).all()


@pytest.mark.parametrize(("bits", "affine"), FORMATS)
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("code", [0, 255])
@pytest.mark.parametrize(("rows", "allowed"), [(1, 1e-5), (3, 1e-3)])
def test_no_sum_of_products_overflows(kernels, rng, bits, affine, sign, code, rows, allowed):
    """Rows that are parallel to the weights have the largest sums that codes can give."""
    matrix = NbitsMatrix.random(rng, 17, 288, bits, affine=affine)
    matrix.codes[:] = code
    matrix.scales[:] = np.abs(matrix.scales)
    x = np.full((rows, 288), sign, np.float32)
    exact = x @ matrix.dequantized().T
    np.testing.assert_allclose(kernels.matmul(matrix, x), exact, rtol=0, atol=allowed * np.abs(exact).max())


@pytest.mark.parametrize(("bits", "affine"), FORMATS)
def test_adds_bias(kernels, rng, bits, affine):
    matrix = NbitsMatrix.random(rng, 21, 64, bits, affine=affine)
    x = rng.standard_normal((3, 64)).astype(np.float32)
    bias = rng.standard_normal(21).astype(np.float32)
    np.testing.assert_allclose(kernels.matmul(matrix, x, bias=bias), kernels.matmul(matrix, x) + bias, rtol=1e-6)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block_size", [64, 128, 256])
def test_wide_blocks_repeat_their_zero_point(kernels, rng, bits, block_size):
    matrix = NbitsMatrix.random(rng, 11, 288, bits, affine=ZERO_POINTS)
    repeat = block_size // 32
    wide = matrix.zero_points[:, ::repeat].copy()
    matrix.zero_points[:] = np.repeat(wide, repeat, axis=1)[:, : matrix.blocks]
    packed = kernels.pack(matrix)
    kernels.repack_zero_points(
        stored_zero_points(wide, bits), wide.shape[1], repeat, 11, 0, packed, matrix.blocks, bits
    )
    np.testing.assert_array_equal(packed, kernels.pack(matrix))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_not_finite_activations_give_nan(kernels, rng, bits, bad):
    matrix = NbitsMatrix.random(rng, 8, 64, bits)
    x = np.ones((1, 64), np.float32)
    x[0, 40] = bad
    assert np.isnan(kernels.matmul(matrix, x)).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_subnormal_scales_are_exact(kernels, rng, bits):
    matrix = NbitsMatrix.random(rng, 8, 32, bits)
    matrix.scales[:] = np.float16(6e-8)
    x = rng.standard_normal((1, 32)).astype(np.float32)
    np.testing.assert_allclose(kernels.matmul(matrix, x), kernels.reference(matrix, x), rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_rejects_scales_that_are_not_finite(kernels, bad):
    scales = np.ones((8, 1), np.float16)
    scales[5] = bad
    packed = np.zeros(kernels.packed_block_bytes(4, 0), np.uint8)
    assert kernels.repack_scales(scales, 1, 1, 8, 0, packed, 1, 4, 0, 0) == 0


def test_wide_blocks_repeat_their_scale(kernels, rng):
    narrow = NbitsMatrix.random(rng, 8, 256, 4)
    narrow.scales[:] = np.repeat(narrow.scales[:, ::4], 4, axis=1)
    packed = np.zeros_like(kernels.pack(narrow))
    kernels.repack_codes(narrow.codes, 8, 8, 0, packed, 8, 4, 0)
    kernels.repack_scales(np.ascontiguousarray(narrow.scales[:, ::4]), 2, 4, 8, 0, packed, 8, 4, 0, 0)
    np.testing.assert_array_equal(packed, kernels.pack(narrow))


@pytest.mark.parametrize("affine", [SYMMETRIC, OFFSETS])
@pytest.mark.parametrize("width", [72, 64, 5])
def test_gathers_rows_of_a_packed_table_of_4_bits(kernels, rng, affine, width):
    matrix = NbitsMatrix.random(rng, 19, width, 4, affine=affine)
    ids = np.array([18, 0, 7, 8, 8], np.uint32)
    y = np.zeros((5, width), np.float32)
    kernels.gather_q4(kernels.pack(matrix), affine, matrix.blocks, ids, 5, width, y, width)
    np.testing.assert_allclose(y, matrix.dequantized()[ids], rtol=1e-5, atol=1e-7)


def test_gathers_rows_of_the_packed_table(kernels, rng):
    matrix = NbitsMatrix.random(rng, 19, 72, 8)
    ids = np.array([18, 0, 7, 8, 8], np.uint32)
    y = np.zeros((5, 72), np.float32)
    kernels.gather_q8(kernels.pack(matrix), matrix.blocks, ids, 5, 72, y, 72)
    np.testing.assert_allclose(y, matrix.dequantized()[ids], rtol=1e-6)
