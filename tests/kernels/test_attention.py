"""Holds the paged attention, its rotary embedding and its cache to plain softmax in float64."""

import numpy as np
import pytest

from tests.kernels.native_kernels import PAGE_TOKENS, KvCache

TOLERANCE = {0: 2e-5, 1: 3e-3}


class PagedCache:
    """One layer's cache in numpy memory, behind a struct that the kernels read."""

    def __init__(self, pages: int, heads: int, dim: int, half: int) -> None:
        width = 2 * PAGE_TOKENS * heads * dim * (2 if half else 4)
        self.memory = np.full((pages, width + 64), 0xFF, np.uint8)  # NaN wherever nothing was stored
        # pages in reverse order, so that a kernel which takes them for contiguous is found out
        self.table = np.array([row.ctypes.data for row in self.memory[::-1]], np.uint64)
        self.struct = np.frombuffer(bytearray(KvCache(self.table.ctypes.data, 64, dim, half)), np.uint8)


def rotated(x: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """x [rows, heads, dim], tables [rows, dim / 2]."""
    a, b = np.split(x.astype(np.float64), 2, axis=-1)
    c, s = cosine[:, None], sine[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def plain_attention(q, k, v, causal: int) -> np.ndarray:
    """q [rows, heads, dim], k and v [keys, kv_heads, dim]."""
    rows, heads, dim = q.shape
    keys, kv_heads, _ = k.shape
    k, v = (np.repeat(x, heads // kv_heads, axis=1) for x in (k, v))
    scores = np.einsum("rhd,khd->hrk", q, k) / np.sqrt(dim)
    if causal:
        future = np.arange(keys)[None] > np.arange(keys - rows, keys)[:, None]
        scores = np.where(future[None], -np.inf, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hrk,khd->rhd", weights / weights.sum(-1, keepdims=True), v)


def run(kernels, rng, *, rows, keys, heads, kv_heads, dim, causal, half, base=0, sharpness=1.0):
    """Append ``keys`` tokens from slot ``base`` on and let the last ``rows`` of them attend."""
    cache = PagedCache(-(-(base + keys) // PAGE_TOKENS), kv_heads, dim, half)
    q = (rng.standard_normal((keys, heads, dim)) * sharpness).astype(np.float32)
    k, v = (rng.standard_normal((keys, kv_heads, dim)).astype(np.float32) for _ in range(2))
    angles = np.arange(keys)[:, None] * 0.3 / (1 + np.arange(dim // 2))
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    exact = plain_attention(
        rotated(q, cosine, sine)[keys - rows :], rotated(k, cosine, sine), v.astype(np.float64), causal
    )
    positions, slots = np.arange(keys, dtype=np.uint32), np.arange(base, base + keys, dtype=np.uint32)
    widths = (q, heads * dim, k, kv_heads * dim, v, kv_heads * dim)
    kernels.append_kv(cache.struct, *widths, cosine, sine, positions, slots, keys, heads, kv_heads)
    y = np.zeros((rows, heads, dim), np.float32)
    last = np.ascontiguousarray(q[keys - rows :])
    for head in range(kv_heads):
        shape = (rows, heads // kv_heads, base, keys, causal)
        kernels.attend(cache.struct, head, last, heads * dim, y, heads * dim, *shape, float(dim**-0.5))
    return y, exact


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1, 8), (1, 33, 3, 1, 64), (5, 5, 4, 4, 32), (7, 70, 9, 3, 64), (3, 300, 2, 1, 16)]
)
def test_matches_plain_softmax(kernels, rng, half, causal, shape):
    rows, keys, heads, kv_heads, dim = shape
    y, exact = run(
        kernels, rng, rows=rows, keys=keys, heads=heads, kv_heads=kv_heads, dim=dim, causal=causal, half=half
    )
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[half])


@pytest.mark.parametrize("half", [0, 1])
def test_a_sequence_may_start_inside_a_page(kernels, rng, half):
    y, exact = run(kernels, rng, rows=6, keys=90, heads=2, kv_heads=2, dim=24, causal=0, half=half, base=224)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[half])


def test_sharp_scores_do_not_overflow(kernels, rng):
    y, exact = run(kernels, rng, rows=4, keys=64, heads=2, kv_heads=1, dim=32, causal=1, half=0, sharpness=500.0)
    np.testing.assert_allclose(y, exact, rtol=0, atol=2e-3)


def test_half_cache_saturates_instead_of_overflowing(kernels):
    cache = PagedCache(1, 1, 8, 1)
    k = np.full((1, 8), 1e6, np.float32)
    q, slots = np.zeros((1, 8), np.float32), np.zeros(1, np.uint32)
    kernels.append_kv(cache.struct, q, 8, k, 8, -k, 8, None, None, slots, slots, 1, 1, 1)
    y = np.zeros((1, 8), np.float32)
    kernels.attend(cache.struct, 0, q, 8, y, 8, 1, 1, 0, 1, 1, 1.0)
    np.testing.assert_array_equal(y, np.full((1, 8), -65504, np.float32))
