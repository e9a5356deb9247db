"""Holds the paged attention, its rotary embedding and its cache to plain softmax in float64."""

import numpy as np
import pytest

from tests.kernels.native_kernels import PAGE_TOKENS, Attention, KvCache

F32, I16, I8 = 0, 1, 2
# Largest error of an output whose values are standard normal: what rounding keys and values to the type costs.
TOLERANCE = {F32: 2e-5, I16: 2e-4, I8: 6e-2}
EXTRA = 2
BIAS_MARGIN = 32


class PagedCache:
    """One layer's cache in numpy memory, behind a struct that the kernels read."""

    def __init__(self, kernels, pages: int, heads: int, dim: int, kind: int) -> None:
        width = heads * kernels.kv_head_bytes(dim, kind)
        self.memory = np.full((pages, width + 64), 0xFF, np.uint8)  # NaN wherever nothing was stored
        # pages in reverse order, so that a kernel which takes them for contiguous is found out
        self.table = np.array([row.ctypes.data for row in self.memory[::-1]], np.uint64)
        self.struct = KvCache(self.table.ctypes.data, 64, dim, kind)


def rotated(x: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """x [rows, heads, dim], tables [rows, half of the rotated elements]."""
    half = cosine.shape[1]
    a, b, rest = np.split(x.astype(np.float64), [half, 2 * half], axis=-1)
    c, s = cosine[:, None], sine[:, None]
    return np.concatenate([a * c - b * s, b * c + a * s, rest], axis=-1)


def plain_attention(q, k, v, *, causal: bool, window: int, softcap: float, learned=None) -> np.ndarray:
    """q [rows, heads, dim], k and v [keys, kv_heads, dim], learned [heads, distances from -reach to reach]."""
    rows, heads, dim = q.shape
    keys, kv_heads, _ = k.shape
    k, v = (np.repeat(x, heads // kv_heads, axis=1) for x in (k, v))
    scores = np.einsum("rhd,khd->hrk", q, k) / np.sqrt(dim)
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    last = np.arange(keys - rows, keys)[:, None] if causal else np.full((rows, 1), keys - 1)
    at = np.arange(keys)[None]
    if learned is not None:
        reach = learned.shape[1] // 2
        distance = at - np.arange(keys - rows, keys)[:, None]
        scores = scores + learned[:, np.clip(distance, -reach, reach) + reach]
    hidden = (at > last) | ((at <= last - window) if window else False)
    scores = np.where(hidden[None], -np.inf, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("hrk,khd->rhd", weights / weights.sum(-1, keepdims=True), v)


def run(
    kernels, rng, *, rows, keys, heads, kv_heads, dim, kind, causal=1, base=0, sharpness=1.0, window=0, softcap=0.0,
    rotary_dim=None, ranges=False, learned=None,
):  # fmt: skip
    """Append ``keys`` tokens from slot ``base`` on and let the last ``rows`` of them attend."""
    cache = PagedCache(kernels, -(-(base + keys) // PAGE_TOKENS), kv_heads, dim, kind)
    half = (dim if rotary_dim is None else rotary_dim) // 2
    q = (rng.standard_normal((keys, heads, dim)) * sharpness).astype(np.float32)
    k, v = (rng.standard_normal((keys, kv_heads, dim)).astype(np.float32) for _ in range(2))
    angles = np.arange(keys)[:, None] * 0.3 / (1 + np.arange(half))
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    exact = plain_attention(
        rotated(q, cosine, sine)[keys - rows :], rotated(k, cosine, sine), v.astype(np.float64),
        causal=bool(causal), window=window, softcap=softcap, learned=learned,
    )  # fmt: skip
    positions, slots = np.arange(keys, dtype=np.uint32), np.arange(base, base + keys, dtype=np.uint32)
    widths = (q, heads * dim, k, kv_heads * dim, v, kv_heads * dim)
    tables = (cosine, sine) if half else (None, None)
    kernels.append_kv(cache.struct, *widths, *tables, 2 * half, positions, slots, keys, heads, kv_heads)
    y = np.full((rows, heads, dim), 7.0, np.float32)
    last = np.ascontiguousarray(q[keys - rows :])
    shape = Attention(rows, heads // kv_heads, base, keys, causal, window, float(dim**-0.5), softcap)
    if learned is not None:
        bias = np.pad(learned, ((0, 0), (BIAS_MARGIN, BIAS_MARGIN)), mode="edge").astype(np.float32)
        shape.position, shape.bias_width, shape.bias = keys - rows, bias.shape[1], bias.ctypes.data
    sides = (last, heads * dim, y, heads * dim)
    for head in range(kv_heads):
        if not ranges:
            kernels.attend(cache.struct, shape, head, *sides, 0, None)
            continue
        count = kernels.attend_ranges(shape)
        partials = np.full((count, rows * heads // kv_heads, dim + EXTRA), np.nan, np.float32)
        for part in reversed(range(count)):
            kernels.attend(cache.struct, shape, head, *sides, part, partials)
        kernels.combine_ranges(shape, head, dim, count, partials, *sides[2:])
    return y, exact


SHAPES = [
    (1, 1, 1, 1, 8),
    (1, 33, 3, 1, 64),
    (5, 5, 4, 4, 32),
    (7, 70, 9, 3, 64),
    (3, 300, 2, 1, 16),
    (2, 40, 8, 1, 256),
]


@pytest.mark.parametrize("kind", [F32, I16, I8])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_matches_plain_softmax(kernels, rng, kind, causal, shape):
    rows, keys, heads, kv_heads, dim = shape
    y, exact = run(
        kernels, rng, rows=rows, keys=keys, heads=heads, kv_heads=kv_heads, dim=dim, causal=causal, kind=kind
    )
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[kind])


@pytest.mark.parametrize("dim", [8, 24, 80, 96, 128, 256])
@pytest.mark.parametrize("queries", [1, 3, 4, 7])
def test_any_head_of_a_multiple_of_eight(kernels, rng, dim, queries):
    y, exact = run(kernels, rng, rows=2, keys=45, heads=2 * queries, kv_heads=2, dim=dim, kind=F32)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[F32])


@pytest.mark.parametrize("kind", [F32, I16])
@pytest.mark.parametrize("window", [1, 5, 32, 33, 299, 1000])
@pytest.mark.parametrize("ranges", [False, True])
def test_a_window_hides_what_lies_before_it(kernels, rng, kind, window, ranges):
    y, exact = run(kernels, rng, rows=8, keys=600, heads=3, kv_heads=1, dim=16, kind=kind, window=window, ranges=ranges)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[kind])


@pytest.mark.parametrize("keys", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("kind", [F32, I16, I8])
def test_ranges_of_keys_combine_to_the_whole(kernels, rng, keys, rows, kind):
    rows = min(rows, keys)
    y, exact = run(kernels, rng, rows=rows, keys=keys, heads=6, kv_heads=2, dim=32, kind=kind, ranges=True)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[kind])


def test_a_window_leaves_ranges_out(kernels):
    full = Attention(1, 1, 0, 2000, 1, 0, 1.0, 0.0)
    windowed = Attention(1, 1, 0, 2000, 1, 100, 1.0, 0.0)
    assert kernels.attend_ranges(full) == 8
    assert kernels.attend_ranges(windowed) == 1


@pytest.mark.parametrize("kind", [F32, I16, I8])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize(("rows", "keys", "reach"), [(1, 1, 4), (5, 37, 3), (3, 300, 128), (40, 70, 1), (2, 90, 200)])
def test_scores_get_a_bias_by_distance(kernels, rng, kind, causal, rows, keys, reach):
    learned = rng.standard_normal((6, 2 * reach + 1)) * 3
    shape = {"rows": rows, "keys": keys, "heads": 6, "kv_heads": 2, "dim": 16}
    y, exact = run(kernels, rng, **shape, kind=kind, causal=causal, base=224, learned=learned)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[kind])


@pytest.mark.parametrize("softcap", [0.5, 50.0])
def test_scores_are_capped_softly(kernels, rng, softcap):
    y, exact = run(
        kernels, rng, rows=3, keys=40, heads=4, kv_heads=2, dim=16, kind=F32, softcap=softcap, sharpness=20.0
    )
    np.testing.assert_allclose(y, exact, rtol=0, atol=5e-4)


@pytest.mark.parametrize("rotary_dim", [0, 16, 48])
def test_elements_beyond_the_rotation_stay(kernels, rng, rotary_dim):
    y, exact = run(kernels, rng, rows=4, keys=30, heads=2, kv_heads=1, dim=64, kind=F32, rotary_dim=rotary_dim)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[F32])


@pytest.mark.parametrize("kind", [F32, I16, I8])
def test_a_sequence_may_start_inside_a_page(kernels, rng, kind):
    y, exact = run(kernels, rng, rows=6, keys=90, heads=2, kv_heads=2, dim=24, causal=0, kind=kind, base=224)
    np.testing.assert_allclose(y, exact, rtol=0, atol=TOLERANCE[kind])


@pytest.mark.parametrize("kind", [F32, I16])
def test_sharp_scores_do_not_overflow(kernels, rng, kind):
    y, exact = run(kernels, rng, rows=4, keys=64, heads=2, kv_heads=1, dim=32, kind=kind, sharpness=500.0)
    atol = 2e-3 if kind == F32 else 0.5  # the winner's margin is as sharp as the rounding of its key allows
    np.testing.assert_allclose(y, exact, rtol=0, atol=atol)


def attended(kernels, kind: int, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """What one query of zeros sees in a cache of one token."""
    dim = k.shape[1]
    cache = PagedCache(kernels, 1, 1, dim, kind)
    q, slots = np.zeros((1, dim), np.float32), np.zeros(1, np.uint32)
    kernels.append_kv(cache.struct, q, dim, k, dim, v, dim, None, None, 0, slots, slots, 1, 1, 1)
    y = np.zeros((1, dim), np.float32)
    kernels.attend(cache.struct, Attention(1, 1, 0, 1, 1, 0, 1.0, 0.0), 0, q, dim, y, dim, 0, None)
    return y


@pytest.mark.parametrize("kind", [F32, I16])
def test_large_values_keep_their_size(kernels, kind):
    k = np.linspace(-1e9, 1e9, 8, dtype=np.float32)[None]
    np.testing.assert_allclose(attended(kernels, kind, k, -k), -k, rtol=0, atol=1e9 / 2**15)


@pytest.mark.parametrize("dim", [8, 64, 256])
def test_sums_of_sixteen_bit_codes_do_not_overflow(kernels, dim):
    """Equal elements make every sum as long as it can be; the weight of 32 keys is spread, or on one of them."""
    for q in (0.0, 50.0):
        rows = np.full((32, dim), 1.0, np.float32)
        keys = rows * np.linspace(0, 1, 32, dtype=np.float32)[:, None]
        cache = PagedCache(kernels, 1, 1, dim, I16)
        query, slots = np.full((1, dim), q, np.float32), np.arange(32, dtype=np.uint32)
        kernels.append_kv(cache.struct, query.copy(), dim, keys, dim, rows, dim, None, None, 0, slots, slots, 32, 1, 1)
        y = np.zeros((1, dim), np.float32)
        kernels.attend(cache.struct, Attention(1, 1, 0, 32, 1, 0, 1.0, 0.0), 0, query, dim, y, dim, 0, None)
        np.testing.assert_allclose(y, 1.0, rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", [I16, I8])
@pytest.mark.parametrize("value", [0.0, 1e-40, 3e-7, 6e4])
def test_extreme_values_come_back(kernels, kind, value):
    v = np.full((1, 8), value, np.float32)
    np.testing.assert_allclose(attended(kernels, kind, v, v), v, rtol=6e-2, atol=1e-7)


@pytest.mark.parametrize("kind", [I16, I8])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_values_that_are_not_finite_give_nan(kernels, kind, bad):
    v = np.ones((1, 8), np.float32)
    v[0, 3] = bad
    assert np.isnan(attended(kernels, kind, np.ones_like(v), v)).all()
