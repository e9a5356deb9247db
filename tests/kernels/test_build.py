"""Holds the build to its promise: the same sources give the same bytes, wherever they are written."""

import importlib.util

import pytest

from wasm_kernels.build import WASM_BUILDS, build_wasm


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
def test_builds_are_reproducible(tmp_path):
    first, second = (build_wasm(tmp_path / name) for name in ("one", "two"))
    assert len(first) == len(WASM_BUILDS)
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
