"""Holds norms, activation functions and float tables to numpy in float64."""

import math

import numpy as np
import pytest

FACTOR = 1.702
GATED = 16


def gelu(a, _):
    return 0.5 * a * (1 + np.vectorize(math.erf)(a / math.sqrt(2)))


def gelu_tanh(a, _):
    return 0.5 * a * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))


def quick_gelu(a, _):
    return a / (1 + np.exp(-FACTOR * a))


FUNCTIONS = {
    0: lambda a, b: a,
    1: lambda a, b: a + b,
    2: lambda a, b: a - b,
    3: lambda a, b: a * b,
    4: lambda a, b: FACTOR * a,
    5: lambda a, b: np.maximum(a, 0),
    6: quick_gelu,
    7: gelu,
    8: gelu_tanh,
    9: lambda a, b: FACTOR * np.tanh(a / FACTOR),
    10: lambda a, b: np.clip(a, -FACTOR, FACTOR),
    GATED + 5: lambda a, b: np.maximum(a, 0) * b,
    GATED + 6: lambda a, b: quick_gelu(a, b) * b,
    GATED + 7: lambda a, b: gelu(a, b) * b,
    GATED + 8: lambda a, b: gelu_tanh(a, b) * b,
}


@pytest.mark.parametrize("width", [1, 4, 30, 576])
@pytest.mark.parametrize("centered", [0, 1])
@pytest.mark.parametrize("skipped", [False, True])
def test_normalize_matches_numpy(kernels, rng, width, centered, skipped):
    x, skip = (rng.standard_normal((3, width)).astype(np.float32) + 2 for _ in range(2))
    weight, bias, skip_bias = (rng.standard_normal(width).astype(np.float32) for _ in range(3))
    y, total = np.zeros((3, width), np.float32), np.zeros((3, width), np.float32)
    extra = (skip, width, skip_bias) if skipped else (None, 0, None)
    kept = total if skipped else None
    kernels.normalize(x, width, *extra, weight, bias, y, kept, 3, width, 1e-6, centered)
    summed = x.astype(np.float64) + (skip + skip_bias if skipped else 0)
    shifted = summed - summed.mean(-1, keepdims=True) if centered else summed
    expected = shifted / np.sqrt((shifted**2).mean(-1, keepdims=True) + 1e-6) * weight + bias
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=2e-5)
    if skipped:
        np.testing.assert_allclose(total, summed, rtol=1e-6, atol=1e-6)


def test_normalize_without_total_keeps_the_sum_to_itself(kernels, rng):
    x, skip = (rng.standard_normal((2, 12)).astype(np.float32) for _ in range(2))
    before, weight = x.copy(), np.ones(12, np.float32)
    with_total, without, total = (np.zeros((2, 12), np.float32) for _ in range(3))
    kernels.normalize(x, 12, skip, 12, None, weight, None, with_total, total, 2, 12, 1e-6, 1)
    kernels.normalize(x, 12, skip, 12, None, weight, None, without, None, 2, 12, 1e-6, 1)
    np.testing.assert_array_equal(with_total, without)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("width", [1, 7, 64])
def test_elementwise_matches_numpy(kernels, rng, function, width):
    a = (rng.standard_normal((3, width + 5)) * 6).astype(np.float32)
    b = rng.standard_normal((3, width)).astype(np.float32)
    y = np.zeros((3, width), np.float32)
    kernels.elementwise(function, FACTOR, a, width + 5, b, width, y, 3, width)
    expected = FUNCTIONS[function](a[:, :width].astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)


def test_elementwise_repeats_a_row_of_stride_zero(kernels, rng):
    a, b = rng.standard_normal((3, 12)).astype(np.float32), rng.standard_normal(12).astype(np.float32)
    y = np.zeros((3, 12), np.float32)
    kernels.elementwise(1, 0.0, a, 12, b, 0, y, 3, 12)
    np.testing.assert_array_equal(y, a + b)


@pytest.mark.parametrize("function", [6, 7, 8])
def test_activation_functions_survive_extremes(kernels, function):
    a = np.array([[-np.inf, -1e30, -100.0, -0.0, 0.0, 100.0, 1e30, 3e38]], np.float32)
    y = np.zeros_like(a)
    kernels.elementwise(function, FACTOR, a, 8, a, 8, y, 1, 8)
    np.testing.assert_allclose(y[0, 1:], [0, 0, 0, 0, 100, 1e30, 3e38], atol=1e-7)


def test_gathers_float_rows(kernels, rng):
    table = rng.standard_normal((9, 5)).astype(np.float32)
    ids = np.array([8, 0, 8], np.uint32)
    y = np.zeros((3, 5), np.float32)
    kernels.gather_f32(table, ids, 3, 5, y, 5)
    np.testing.assert_array_equal(y, table[ids])


def test_widens_every_finite_float16(kernels):
    halves = np.arange(1 << 16, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))]
    wide = np.zeros(len(halves), np.float32)
    kernels.widen_f16(halves, wide, len(halves))
    np.testing.assert_array_equal(wide, halves.view(np.float16).astype(np.float32))
