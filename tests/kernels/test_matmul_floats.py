"""Holds float weights, which are multiplied as blocks of 16-bit codes, to exact products in numpy."""

from itertools import pairwise

import numpy as np
import pytest

from tests.kernels.native_kernels import NativeKernels

SHAPES = [(1, 1, 1), (1, 33, 8), (1, 576, 72), (4, 20, 17), (2, 64, 24), (37, 96, 40)]


def repack(
    kernels: NativeKernels, weight: np.ndarray, *, transposed: bool = False, cuts: tuple[int, ...] = ()
) -> np.ndarray:
    """[columns, inner] packed, from rows that come in one run or are cut."""
    columns, inner = weight.shape
    blocks = -(-inner // 32)
    packed = np.zeros(-(-columns // 8) * blocks * kernels.packed_block_bytes(16, 0), np.uint8)
    stored = np.ascontiguousarray(weight.T if transposed else weight)
    bounds = [0, *cuts, len(stored)]
    for first, last in pairwise(bounds):
        part = np.ascontiguousarray(stored[first:last])
        if transposed:
            placed = kernels.repack_floats(part, 1, columns, columns, 0, last - first, first, packed, blocks)
        else:
            placed = kernels.repack_floats(part, inner, 1, last - first, first, inner, 0, packed, blocks)
        assert placed == 1
    return packed


def product(
    kernels: NativeKernels, packed: np.ndarray, x: np.ndarray, columns: int, bias: np.ndarray | None = None
) -> np.ndarray:
    rows, inner = x.shape
    blocks, groups = -(-inner // 32), -(-columns // 8)
    y = np.full((rows, columns), 7, np.float32)
    kernels.matmul_q16(packed, kernels.quantize(x, 16), rows, blocks, 0, groups, columns, bias, y, columns)
    return y


def relative_error(found: np.ndarray, exact: np.ndarray, x: np.ndarray, weight: np.ndarray) -> float:
    """The largest difference, as a share of what independent numbers of these sizes add up to."""
    typical = np.linalg.norm(x.astype(np.float64), axis=1)[:, None] * np.linalg.norm(weight.astype(np.float64), axis=1)
    return float(np.max(np.abs(found - exact) / np.maximum(typical, 1e-300)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_matches_the_exact_product(kernels, rng, shape, transposed):
    rows, inner, columns = shape
    weight = rng.standard_normal((columns, inner)).astype(np.float32)
    x = rng.standard_normal((rows, inner)).astype(np.float32)
    bias = rng.standard_normal(columns).astype(np.float32)
    found = product(kernels, repack(kernels, weight, transposed=transposed), x, columns, bias)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    assert relative_error(found, exact, x, weight) < 1e-4


@pytest.mark.parametrize("kind", ["equal", "opposite", "spikes", "huge", "tiny", "zeros"])
def test_no_block_overflows(kernels, rng, kind):
    """Rows that are parallel to the weights have the largest sums that codes can give."""
    weight = rng.standard_normal((8, 64)).astype(np.float32)
    if kind in ("equal", "opposite"):
        weight[:] = 1.75
    elif kind == "spikes":
        weight[:, ::32] = 1000
        weight[:, 5] = -1000
    elif kind in ("huge", "tiny"):
        weight *= np.float32(1e18 if kind == "huge" else 1e-18)
    elif kind == "zeros":
        weight[:] = 0
    x = (-weight if kind == "opposite" else weight)[:3].copy()
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    assert relative_error(product(kernels, repack(kernels, weight), x, 8), exact, x, weight) < 3e-4


def test_rows_may_be_cut_inside_blocks(kernels, rng):
    weight = rng.standard_normal((19, 100)).astype(np.float32)
    x = rng.standard_normal((5, 100)).astype(np.float32)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    packed = repack(kernels, weight, transposed=True, cuts=(10, 33, 40, 64))
    assert relative_error(product(kernels, packed, x, 19), exact, x, weight) < 2e-4
    whole = repack(kernels, weight)
    np.testing.assert_array_equal(repack(kernels, weight, cuts=(3, 11)), whole)
    np.testing.assert_array_equal(repack(kernels, weight, transposed=True, cuts=(32, 96)), whole)


@pytest.mark.parametrize("rows", [1, 3, 33])
def test_one_row_gives_what_it_gives_among_many(kernels, rng, rows):
    weight = rng.standard_normal((40, 96)).astype(np.float32)
    x = rng.standard_normal((rows, 96)).astype(np.float32)
    packed = repack(kernels, weight)
    alone = product(kernels, packed, x[-1:].copy(), 40)
    among = product(kernels, packed, x, 40)[-1:]
    assert relative_error(among, alone, x[-1:], weight) < 1e-4


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_rejects_weights_that_are_not_finite(kernels, bad):
    weight = np.ones((8, 40), np.float32)
    weight[3, 35] = bad
    packed = np.zeros(2 * kernels.packed_block_bytes(16, 0), np.uint8)
    assert kernels.repack_floats(weight, 40, 1, 8, 0, 40, 0, packed, 2) == 0


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_not_finite_activations_give_nan(kernels, bad):
    x = np.ones((1, 64), np.float32)
    x[0, 40] = bad
    assert np.isnan(product(kernels, repack(kernels, np.ones((8, 64), np.float32)), x, 8)).all()
