"""Owns the native kernel that rounds weights to blocks: finds its library, asks whether it runs here, and calls it.

Round-to-nearest in numpy is the reference and the fallback: both give the same bytes.
"""

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convert.quantize.round_to_nearest import pack_codes, quantize_blocks

LIBRARY_VARIABLE = "FEATHERWEIGHT_KERNELS"
"""Path of the library; empty for numpy. Without it, that of a checkout in which ``wasm_kernels.build`` has run."""
_ENDINGS = {"Darwin": ".dylib", "Windows": ".dll"}
_BUILT = Path(__file__).parents[2] / "build" / "kernels" / f"kernels{_ENDINGS.get(platform.system(), '.so')}"
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(ml_dtypes.bfloat16): 2}
"""The enumeration FW_F32, FW_F16, FW_BF16 of featherweight_kernels.h."""


@cache
def library() -> ctypes.CDLL | None:
    """The library, or None when there is none, it is none of ours, or this processor cannot run it."""
    chosen = os.environ.get(LIBRARY_VARIABLE)
    path = _BUILT if chosen is None else Path(chosen)
    if not path.is_file():
        return None
    try:
        opened = ctypes.CDLL(str(path.resolve()))
        supported, quantize = opened.fw_machine_is_supported, opened.fw_quantize_weights
    except (OSError, AttributeError):
        return None
    supported.restype = quantize.restype = ctypes.c_uint32
    quantize.argtypes = [ctypes.c_void_p, *[ctypes.c_uint32] * 5, ctypes.c_void_p, ctypes.c_void_p]
    return opened if supported() else None


def quantizer_name() -> str:
    """What rounds weights here: "native" or "numpy"."""
    return "numpy" if library() is None else "native"


def quantize_rows(
    rows: NDArray[np.generic], bits: int, block_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Round ``rows`` [n, k] of float32, float16 or bfloat16 as `quantize_blocks` does.

    Returns packed codes [n, ceil(k / block_size), block_size * bits / 8] and scales [n, blocks].

    Raises:
        BadCheckpoint: a weight is not finite, or too large for a float16 scale.
    """
    kernels = library()
    if kernels is not None and rows.flags.c_contiguous:
        count, width = rows.shape
        blocks = -(-width // block_size)
        codes = np.empty((count, blocks, block_size * bits // 8), np.uint8)
        scale = np.empty((count, blocks), np.float16)
        source = (rows.ctypes.data, _TYPES[rows.dtype], count, width)
        if not kernels.fw_quantize_weights(*source, bits, block_size, codes.ctypes.data, scale.ctypes.data):
            return codes, scale
    # Also when the kernel refuses a weight: the reference says which.
    exact_codes, exact_scale = quantize_blocks(rows.astype(np.float32, copy=False), bits, block_size)
    return pack_codes(exact_codes, bits), exact_scale
