"""Owns block-quantized initializers: codes, scales and offsets of one matrix, taken over from GGUF where they fit."""

from collections.abc import Iterator
from enum import StrEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from convert.checkpoint.quant_blocks import BlockFormat, Scales
from convert.checkpoint.tensor import LazyTensor
from convert.errors import BadCheckpoint
from convert.graph.builder import PART_LIMIT_BYTES
from convert.graph.initializer import Initializer
from convert.quantize.ahead import map_ahead
from convert.quantize.compensations import Compensations
from convert.quantize.dense import CHUNK_BYTES, row_ranges
from convert.quantize.gptq import gptq_rows
from convert.quantize.native import quantize_rows
from convert.quantize.recipe import Method, TensorFormat
from convert.quantize.round_to_nearest import pack_codes
from convert.quantize.scale_search import search_rows

AFFINE_BITS = 4
"""Codes with offsets exist at this width only."""


class Import(StrEnum):
    """How the weights of one matrix became codes and scales."""

    LOSSLESS = "lossless"
    """Blocks of the source, exactly."""
    ROUNDED_SCALES = "rounded_scales"
    """Codes of the source; its scales are products that float16 rounds by at most 1 in 2048."""
    REQUANTIZED = "requantized"
    """Blocks of the source do not fit: dequantized and rounded anew."""
    QUANTIZED = "quantized"
    """Rounded from floats."""


def how_imported(block_format: BlockFormat | None, bits: int, block_size: int) -> Import:
    """What becomes of a matrix stored in ``block_format`` (None: floats) at ``bits`` in blocks of ``block_size``."""
    if block_format is None:
        return Import.QUANTIZED
    widest = AFFINE_BITS if block_format.affine else bits
    fits = block_format.length == block_size and block_format.bits <= widest <= bits
    if not fits or (block_format.affine and bits != AFFINE_BITS):
        return Import.REQUANTIZED
    return Import.LOSSLESS if block_format.float16_scales else Import.ROUNDED_SCALES


class NbitsWeight:
    """One matrix [out, in] in the layout of MatMulNBits and GatherBlockQuantized.

    Codes are uint8 [out, blocks, block_size * bits / 8], scales float16 [out, blocks]; ``offset`` (float16
    [out, blocks]) exists where the blocks are affine (GGUF Q4_1, Q4_K: ``w = scale * code + offset``). The codes are
    streamed first; scales and offsets are kept while they pass, so that every row is read once. Rows whose codes were
    not streamed, because an earlier run wrote them, are read again.
    """

    def __init__(self, tensor: LazyTensor, kind: TensorFormat, compensations: Compensations) -> None:
        assert kind.bits is not None, tensor.name
        self.tensor = tensor
        self.method = kind.method
        self.compensations = compensations
        self.bits = bits = kind.bits
        self.block_size = block_size = kind.block_size
        self.rows, self.width = tensor.shape
        self.blocks = -(-self.width // block_size)
        stored = tensor.block_format
        self.imported = how_imported(stored, bits, block_size)
        if not kind.take_over and stored is not None:
            self.imported = Import.REQUANTIZED
        self.taken_over = self.imported in (Import.LOSSLESS, Import.ROUNDED_SCALES)
        self.affine = self.taken_over and stored is not None and stored.affine
        self._scales: dict[int, NDArray[np.float16]] = {}
        self._offsets: dict[int, NDArray[np.float16]] = {}

    @property
    def nbytes(self) -> int:
        """Stored size: codes, scales and offsets, in bytes."""
        per_block = self.block_size * self.bits // 8 + (4 if self.affine else 2)
        return self.rows * self.blocks * per_block

    def codes(self) -> list[Initializer]:
        """Packed codes, cut into row ranges of at most 64 MiB."""
        blob = self.block_size * self.bits // 8
        ranges = self._parts()
        return [
            Initializer(
                name=self._name(f"q{self.bits}" if len(ranges) == 1 else f"q{self.bits}.part{index}"),
                shape=(stop - start, self.blocks, blob),
                onnx_dtype=TensorProto.UINT8,
                chunks=partial(self._stream_codes, start, stop),
            )
            for index, (start, stop) in enumerate(ranges)
        ]

    def scale(self) -> Initializer:
        """Scales; streamed after the codes."""
        return Initializer(
            self._name("scale"), (self.rows, self.blocks), TensorProto.FLOAT16, partial(self._drain, self._scales)
        )

    def offset(self) -> Initializer:
        """Offsets of affine blocks; streamed after the codes."""
        return Initializer(
            self._name("offset"), (self.rows, self.blocks), TensorProto.FLOAT16, partial(self._drain, self._offsets)
        )

    def _name(self, ending: str) -> str:
        return f"{self.tensor.name}_{ending}"

    def _parts(self) -> list[tuple[int, int]]:
        """Row ranges of at most 64 MiB of codes."""
        return list(row_ranges(self.rows, self.blocks * self.block_size * self.bits // 8, PART_LIMIT_BYTES))

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Row ranges that are read at once."""
        for first, last in row_ranges(stop - start, 4 * self.width, CHUNK_BYTES):
            yield start + first, start + last

    def _stream_codes(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        for first, codes, scale, offset in map_ahead(self._read, self._pieces(start, stop)):
            self._keep(first, scale, offset)
            yield codes

    def _keep(self, first: int, scale: NDArray[np.float16], offset: NDArray[np.float16] | None) -> None:
        self._scales[first] = scale
        if offset is not None:
            self._offsets[first] = offset

    def _drain(self, kept: dict[int, NDArray[np.float16]]) -> Iterator[NDArray[np.float16]]:
        for part in self._parts():
            for start, stop in self._pieces(*part):
                if start not in kept:
                    first, _, scale, offset = self._read(start, stop)
                    self._keep(first, scale, offset)
                yield kept.pop(start)

    def _read(
        self, start: int, stop: int
    ) -> tuple[int, NDArray[np.uint8], NDArray[np.float16], NDArray[np.float16] | None]:
        """``start``, and of these rows the packed codes, scales and offsets."""
        if not self.taken_over:
            try:
                packed, scale = self._round(self.tensor.read_floats(start, stop))
            except BadCheckpoint as error:
                raise BadCheckpoint(f"tensor {self.tensor.name}: {error}") from error
            return start, packed, scale, None
        blocks = self.tensor.read_blocks(start, stop)
        assert blocks is not None, self.tensor.name
        codes = blocks.codes
        if not self.affine and blocks.zero != 1 << (self.bits - 1):
            codes = codes + np.uint8((1 << (self.bits - 1)) - blocks.zero)  # fewer bits, widened around the same zero
        offset = None if blocks.offset is None else self._half(blocks.offset)
        return start, pack_codes(codes, self.bits), self._half(blocks.scale), offset

    def _round(self, rows: NDArray[np.generic]) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        compensation = self.compensations.of(self.tensor.name) if self.method is Method.GPTQ else None
        if compensation is not None:
            return gptq_rows(rows, self.bits, self.block_size, compensation)
        if self.method is Method.RTN:
            return quantize_rows(rows, self.bits, self.block_size)
        return search_rows(rows, self.bits, self.block_size)

    def _half(self, scales: Scales) -> NDArray[np.float16]:
        with np.errstate(over="ignore"):
            half = scales.astype(np.float16)
        if not np.isfinite(half).all():
            raise BadCheckpoint(
                f"tensor {self.tensor.name}: a block has a scale that is NaN, infinite or too large for float16; "
                "the file is damaged, so fetch it again, or take such blocks as 0 with --allow-nonfinite"
            )
        return half
