"""Calls the native kernel library with numpy arrays, and packs weights for it."""

import ctypes
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from wasm_kernels.build import EXPORTS, native_library

PAGE_TOKENS = 256
SYMMETRIC, OFFSETS, ZERO_POINTS = range(3)


class KvCache(ctypes.Structure):
    """``fw_kv_cache`` of the header."""

    _fields_ = (
        ("pages", ctypes.c_void_p),
        ("layer_offset", ctypes.c_uint32),
        ("head_dim", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
    )


class Attention(ctypes.Structure):
    """``fw_attention`` of the header."""

    _fields_ = (
        ("rows", ctypes.c_uint32),
        ("heads_per_kv", ctypes.c_uint32),
        ("key_base", ctypes.c_uint32),
        ("keys", ctypes.c_uint32),
        ("causal", ctypes.c_uint32),
        ("window", ctypes.c_uint32),
        ("scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
        ("position", ctypes.c_uint32),
        ("bias_width", ctypes.c_uint32),
        ("bias", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class NbitsMatrix:
    """A matrix [columns, inner] in the layout of MatMulNBits."""

    bits: int
    inner: int
    codes: np.ndarray  # uint8 [columns, blocks, 4 * bits]
    scales: np.ndarray  # float16 [columns, blocks]
    offsets: np.ndarray | None = None  # float16 [columns, blocks]
    zero_points: np.ndarray | None = None  # uint8 [columns, blocks]

    @property
    def columns(self) -> int:
        return self.codes.shape[0]

    @property
    def blocks(self) -> int:
        return self.codes.shape[1]

    @property
    def affine(self) -> int:
        """One of the kinds of the header."""
        return OFFSETS if self.offsets is not None else ZERO_POINTS if self.zero_points is not None else SYMMETRIC

    def dequantized(self) -> np.ndarray:
        """float64 [columns, inner]."""
        codes = self.codes
        if self.bits == 4:
            codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], 32)
        scales = self.scales.astype(np.float64)[..., None]
        if self.offsets is None:
            middle = 1 << (self.bits - 1)
            zero = middle if self.zero_points is None else self.zero_points.astype(np.float64)[..., None]
            values = (codes.astype(np.float64) - zero) * scales
        else:
            values = codes * scales + self.offsets.astype(np.float64)[..., None]
        return values.reshape(self.columns, -1)[:, : self.inner]

    @classmethod
    def random(cls, rng, columns: int, inner: int, bits: int, *, affine: int = SYMMETRIC) -> "NbitsMatrix":
        blocks = -(-inner // 32)
        codes = rng.integers(0, 256, (columns, blocks, 4 * bits), dtype=np.uint8)
        scales = rng.uniform(-0.02, 0.02, (columns, blocks)).astype(np.float16)
        offsets = rng.uniform(-0.2, 0.2, (columns, blocks)).astype(np.float16) if affine == OFFSETS else None
        points = rng.integers(0, 1 << bits, (columns, blocks), dtype=np.uint8) if affine == ZERO_POINTS else None
        return cls(bits, inner, codes, scales, offsets, points)


def stored_zero_points(points: np.ndarray, bits: int) -> np.ndarray:
    """uint8 [columns, blocks] as MatMulNBits stores them: two to a byte when they have 4 bits."""
    if bits == 8:
        return points
    even = np.pad(points, ((0, 0), (0, points.shape[1] % 2)))
    return np.ascontiguousarray(even[:, ::2] | (even[:, 1::2] << 4))


def pointer(array: np.ndarray | None) -> ctypes.c_void_p:
    """The address of an array; the array has to outlive the call."""
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def argument(value):
    """A Python value as C reads it."""
    if value is None or isinstance(value, np.ndarray):
        return pointer(value)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_float(value) if isinstance(value, float) else value


class NativeKernels:
    """The library, one method per exported name without its prefix."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        for name in (*EXPORTS, "fw_reference_matmul_nbits"):
            function = getattr(library, name)
            function.restype = ctypes.c_uint32
            setattr(self, name.removeprefix("fw_"), self._caller(function))

    @staticmethod
    def _caller(function):
        return lambda *values: function(*(argument(value) for value in values))

    def pack(self, matrix: NbitsMatrix) -> np.ndarray:
        """The matrix in the kernels' layout."""
        affine = matrix.affine
        step = self.packed_block_bytes(matrix.bits, affine)
        packed = np.zeros(-(-matrix.columns // 8) * matrix.blocks * step, np.uint8)
        shape = (packed, matrix.blocks, matrix.bits, affine)
        self.repack_codes(matrix.codes, matrix.blocks, matrix.columns, 0, *shape)
        assert self.repack_scales(matrix.scales, matrix.blocks, 1, matrix.columns, 0, *shape, 0) == 1
        if matrix.offsets is not None:
            assert self.repack_scales(matrix.offsets, matrix.blocks, 1, matrix.columns, 0, *shape, 1) == 1
        if matrix.zero_points is not None:
            stored = stored_zero_points(matrix.zero_points, matrix.bits)
            self.repack_zero_points(stored, matrix.blocks, 1, matrix.columns, 0, packed, matrix.blocks, matrix.bits)
        return packed

    def quantize(self, x: np.ndarray, bits: int) -> np.ndarray:
        rows, width = x.shape
        blocks = np.zeros((rows, -(-width // 32), self.activation_block_bytes()), np.uint8)
        self.quantize_rows(x, width, blocks, rows, width, bits, 0, rows)
        return blocks

    def matmul(self, matrix: NbitsMatrix, x: np.ndarray, *, bias=None, cuts: tuple[int, ...] = ()) -> np.ndarray:
        """``x @ matrix.T``, in one call or cut at some column groups."""
        packed, activations = self.pack(matrix), self.quantize(x, matrix.bits)
        y = np.full((x.shape[0], matrix.columns), 7.0, np.float32)
        bounds = [0, *cuts, -(-matrix.columns // 8)]
        for begin, end in pairwise(bounds):
            rest = (activations, x.shape[0], matrix.blocks, begin, end, matrix.columns, bias, y, matrix.columns)
            if matrix.bits == 4:
                self.matmul_q4(packed, matrix.affine, *rest)
            else:
                self.matmul_q8(packed, matrix.affine, *rest)
        return y

    def reference(self, matrix: NbitsMatrix, x: np.ndarray) -> np.ndarray:
        y = np.zeros((x.shape[0], matrix.columns), np.float32)
        shape = (x.shape[0], matrix.inner, matrix.columns, matrix.bits, y)
        self.reference_matmul_nbits(x, matrix.codes, matrix.scales, matrix.offsets, matrix.zero_points, *shape)
        return y


def load() -> NativeKernels | None:
    """The library, if it was built."""
    path = native_library()
    return NativeKernels(path) if path.exists() else None
