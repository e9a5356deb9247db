"""Holds the stream of plain reads to numpy: a sum is right only when every word was read once."""

import numpy as np
import pytest


@pytest.mark.parametrize("words", [0, 16, 48, 4096])
def test_read_sum_reads_every_word_once(kernels, rng, words):
    store = rng.integers(0, 2**32, words + 16, dtype=np.uint32)
    first = -store.ctypes.data % 16 // 4
    data = store[first : first + words]
    assert kernels.read_sum(data, words) == int(data.sum(dtype=np.uint64)) % 2**32
