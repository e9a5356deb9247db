"""Gives the kernel tests the native library and a random generator."""

import numpy as np
import pytest

from tests.kernels.native_kernels import NativeKernels, load


@pytest.fixture(scope="session")
def kernels() -> NativeKernels:
    library = load()
    if library is None:
        pytest.skip("the native kernels are not built; run `python -m wasm_kernels.build`")
    return library


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
