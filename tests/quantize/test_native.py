"""The native quantizer gives the bytes of the numpy reference, and is left alone where it cannot run."""

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.errors import BadCheckpoint
from convert.quantize import native
from convert.quantize.round_to_nearest import pack_codes, quantize_blocks

ROOT = Path(__file__).parents[2]
TYPES = (np.float32, np.float16, ml_dtypes.bfloat16)
NAME = "import convert.quantize.native as native; print(native.quantizer_name())"
NATIVE = pytest.mark.skipif(
    native.library() is None, reason="the native kernels are not built, or not for this machine"
)


def assert_like_the_reference(rows: np.ndarray, bits: int, block_size: int) -> None:
    codes, scale = native.quantize_rows(rows, bits, block_size)
    expected_codes, expected_scale = quantize_blocks(rows.astype(np.float32), bits, block_size)
    assert np.array_equal(scale.view(np.uint16), expected_scale.view(np.uint16))
    assert np.array_equal(codes, pack_codes(expected_codes, bits))


@NATIVE
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block_size", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("dtype", TYPES)
def test_matches_reference(bits, block_size, dtype):
    rng = np.random.default_rng(1)
    for width in (256, 77, 8, 250):
        for spread in (1.0, 1e-3, 1e-7, 3e-8, 0.0, 6e4):
            rows = np.clip(rng.standard_normal((6, width)) * spread, -6e4, 6e4)
            rows[1], rows[2] = np.abs(rows[1]), -np.abs(rows[2])
            rows[3] = np.sign(rows[3]) * spread
            rows[4, ::2] = -0.0
            assert_like_the_reference(rows.astype(dtype), bits, block_size)


@NATIVE
@settings(max_examples=200, deadline=None)
@given(
    bits=st.sampled_from([4, 8]),
    values=st.lists(st.floats(-1e5, 1e5, width=32), min_size=1, max_size=70),
)
def test_matches_reference_for_any_numbers(bits, values):
    assert_like_the_reference(np.array([values], np.float32), bits, 32)


@pytest.mark.parametrize("position", [0, 5, 40])
@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN"), (-np.inf, "infinite"), (1e7, "magnitude 1e\\+07")])
def test_rejects_what_no_block_can_hold(position, value, message):
    rows = np.ones((3, 41), np.float32)
    rows[1, position] = value
    with pytest.raises(BadCheckpoint, match=message):
        native.quantize_rows(rows, 4, 32)


def quantizer_in_a_new_process(library: str) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", native.LIBRARY_VARIABLE: library}
    done = subprocess.run([sys.executable, "-c", NAME], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@NATIVE
def test_library_is_found_by_its_variable():
    assert quantizer_in_a_new_process(str(native._BUILT)) == "native"


@pytest.mark.parametrize("content", [None, b"", b"no library", b"\x7fELF"])
def test_what_is_no_library_of_ours_is_left_alone(tmp_path, content):
    path = tmp_path / "kernels.so"
    if content is not None:
        path.write_bytes(content)
    assert quantizer_in_a_new_process(str(path)) == "numpy"


def test_empty_variable_asks_for_numpy():
    assert quantizer_in_a_new_process("") == "numpy"


@NATIVE
def test_library_says_that_it_runs_where_the_processor_can():
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    if "flags" not in flags:
        pytest.skip("the features of the processor are read from /proc/cpuinfo of x86 machines")
    assert {"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"} <= set(flags)


def test_library_of_a_lesser_machine_is_left_alone(tmp_path):
    """The same library, built to say that it cannot run here."""
    pytest.importorskip("ziglang", reason="ziglang is not installed")
    source, target = tmp_path / "refusing.c", tmp_path / "kernels.so"
    source.write_text(
        "unsigned fw_machine_is_supported(void) { return 0; }\n"
        "unsigned fw_quantize_weights(void) { __builtin_trap(); }\n"
    )
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", source, "-o", target], check=True)
    assert quantizer_in_a_new_process(str(target)) == "numpy"
