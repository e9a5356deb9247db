"""Owns GPTQ (Frantar et al. 2022): columns are rounded one after the other, each paying for the errors before it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convert.quantize.blocks import FloatArray, inverse, nearest, stored_codes, to_blocks
from convert.quantize.round_to_nearest import pack_codes
from convert.quantize.scale_search import best_scale

DAMPING = 0.01
"""Added to the diagonal, times its mean, so that the inverse exists and the calibration text is not overfitted."""
BATCH = 128
"""Columns whose errors are passed on to the columns after them in one product."""


class Compensation:
    """How an error in one input column of a matrix is best made up for by the others.

    Made of the second moments ``mean(x x^T)`` of the inputs, in consecutive groups of columns [width, width]. Each
    group is compensated within itself, which bounds memory for wide matrices.
    """

    def __init__(self, moments: Sequence[FloatArray]) -> None:
        diagonals = [np.diagonal(group) for group in moments]
        self.importance: FloatArray = np.concatenate(diagonals)
        self.groups: list[tuple[NDArray[np.intp], FloatArray]] = []
        start = 0
        for group, diagonal in zip(moments, diagonals, strict=True):
            # Columns that matter most come first, while all others can still make up for them.
            order = np.argsort(-diagonal, kind="stable")
            self.groups.append((start + order, _factor(group[np.ix_(order, order)])))
            start += len(diagonal)


def _factor(moments: FloatArray) -> FloatArray:
    """Upper Cholesky factor of the damped inverse, in which row j tells how column j's error spreads to later ones."""
    damped = moments.astype(np.float64)
    diagonal = np.einsum("ii->i", damped)
    diagonal[diagonal == 0] = 1.0  # an input that is always zero
    diagonal += DAMPING * diagonal.mean()
    inverted = np.linalg.inv(damped)
    return np.linalg.cholesky((inverted + inverted.T) / 2).T.astype(np.float32)


def gptq_rows(
    rows: NDArray[np.generic], bits: int, block_size: int, compensation: Compensation
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Round ``rows`` [n, k] so that little is lost of what they make of the calibration's inputs.

    Scales are searched first, each column weighed by how large its input is, so that columns may be rounded in any
    order. Returns packed codes [n, blocks, block_size * bits / 8] and scales [n, blocks].

    Raises:
        BadCheckpoint: a weight is not finite, or too large for a float16 scale.
    """
    blocks = to_blocks(rows, block_size)
    count, number, _ = blocks.shape
    importance = np.zeros(number * block_size, np.float32)
    importance[: len(compensation.importance)] = compensation.importance
    scale = best_scale(blocks, bits, importance.reshape(number, block_size))
    columns = np.ascontiguousarray(blocks.reshape(count, -1).T)  # [k, n]: a column lies in one piece
    of_column = np.repeat(np.ascontiguousarray(scale.T), block_size, axis=0)
    codes = np.zeros_like(columns)
    for order, factor in compensation.groups:
        codes[order] = _round_columns(columns[order], of_column[order], factor, bits)
    stored = stored_codes(np.ascontiguousarray(codes.T).reshape(blocks.shape), bits)
    return pack_codes(stored, bits), scale.astype(np.float16)


def _round_columns(columns: FloatArray, scale: FloatArray, factor: FloatArray, bits: int) -> FloatArray:
    """Signed codes of ``columns`` [k, n]; changes them as errors are passed on."""
    width = len(columns)
    codes, inverses = np.empty_like(columns), inverse(scale)
    for start in range(0, width, BATCH):
        stop = min(start + BATCH, width)
        errors = np.empty((stop - start, columns.shape[1]), np.float32)
        for index in range(start, stop):
            codes[index] = nearest(columns[index], inverses[index], bits)
            error = (columns[index] - codes[index] * scale[index]) / factor[index, index]
            columns[index + 1 : stop] -= factor[index, index + 1 : stop, None] * error
            errors[index - start] = error
        columns[stop:] -= factor[start:stop, stop:].T @ errors
    return codes
