"""Owns mixed precision under a size: how much each matrix loses in each format, and which get more bits first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from convert.errors import UnsupportedModel
from convert.families.blocks.context import Matrix
from convert.quantize.compensations import Compensations
from convert.quantize.dense import CHUNK_BYTES, row_ranges
from convert.quantize.native import quantize_rows
from convert.quantize.nbits import NbitsWeight
from convert.quantize.recipe import Recipe, Rule, TensorFormat
from convert.quantize.round_to_nearest import unpack_weights

SMALLEST_BLOCK = 32
FORMATS = ((4, 128), (4, 64), (4, SMALLEST_BLOCK), (8, SMALLEST_BLOCK))
"""Bits and block sizes that are tried, besides the variant's own; the larger blocks where they fill all columns."""
DIRECT_SHARE = 0.5
"""A matrix of a layer adds one term of many to the hidden state; embeddings and heads act on all of it. On SmolLM2 the
loss of perplexity per loss of output of its table is about 100 times that of one of its 210 other matrices."""

Moments = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Choice:
    """One format of one matrix, and what the model loses by it, as `choices` measures."""

    rule: Rule
    size_bytes: int
    loss: float


def weight_of(matrix: Matrix, others: int) -> float:
    """How much a loss of ``matrix`` counts beside one of the ``others``, the matrices inside the layers."""
    return max(1.0, DIRECT_SHARE * others) if matrix.direct else 1.0


def choices(matrix: Matrix, moments: Moments | None, weight: float = 1.0) -> list[Choice]:
    """The formats of ``matrix`` that are worth their bytes, from the smallest on.

    The loss is ``weight * sum((E x)^2) / sum((W x)^2)`` over inputs x with these second moments, where E is what
    rounding to nearest changes of W; without moments all inputs count alike. It is 0 for blocks that are taken over.
    """
    tensor, own = matrix.tensor, matrix.kind
    formats = [TensorFormat(bits, size, own.method, take_over=False) for bits, size in FORMATS]
    formats = [kind for kind in formats if kind.block_size == SMALLEST_BLOCK or not tensor.shape[1] % kind.block_size]
    if own.bits is not None:
        formats.append(own)
    found = []
    for kind in dict.fromkeys(formats):
        stored = NbitsWeight(tensor, kind, Compensations())
        method = None if kind == own else kind.method
        rule = Rule(_exactly(tensor.name), kind.bits, kind.block_size, method)
        loss = 0.0 if stored.taken_over else weight * _loss(matrix, kind, moments)
        found.append(Choice(rule, stored.nbytes, loss))
    return _worth_it(found)


def _exactly(name: str) -> str:
    """A pattern that only ``name`` matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _loss(matrix: Matrix, kind: TensorFormat, moments: Moments | None) -> float:
    tensor = matrix.tensor
    rows, width = tensor.shape
    assert kind.bits is not None
    error_energy = energy = 0.0
    for start, stop in row_ranges(rows, 4 * width, CHUNK_BYTES):
        weights = tensor.read_rows(start, stop)
        rounded = unpack_weights(*quantize_rows(weights, kind.bits, kind.block_size), kind.bits, width)
        error_energy += _energy(rounded - weights, moments)
        energy += _energy(weights, moments)
    return error_energy / energy if energy else 0.0


def _energy(weights: NDArray[np.float32], moments: Moments | None) -> float:
    if moments is None:
        return float(np.vdot(weights, weights))
    total, start = 0.0, 0
    for group in moments:
        part = weights[:, start : start + len(group)]
        total += float(np.vdot(part @ group, part))
        start += len(group)
    return total


def _worth_it(found: Sequence[Choice]) -> list[Choice]:
    """The lower convex hull of loss over size: along it each further byte saves less than the ones before."""
    hull: list[Choice] = []
    for choice in sorted(found, key=lambda item: (item.size_bytes, item.loss)):
        if hull and choice.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-2], choice):
            hull.pop()
        hull.append(choice)
    return hull


def _gain(smaller: Choice, larger: Choice) -> float:
    """Loss that each byte saves."""
    return (smaller.loss - larger.loss) / (larger.size_bytes - smaller.size_bytes)


def within(table: Mapping[str, Sequence[Choice]], size_of: Callable[[Recipe], int], target_bytes: int) -> Recipe:
    """The recipe that spends what ``target_bytes`` leave over the smallest one where each byte saves most.

    ``size_of`` tells the bytes of the whole download. Upgrades are taken in one order, so that a larger target never
    takes a bit away that a smaller one gave.

    Raises:
        UnsupportedModel: even the smallest formats do not fit.
    """
    order = sorted(
        ((-_gain(*pair), tensor, pair[1].rule) for tensor, row in table.items() for pair in pairwise(row)),
        key=lambda item: item[:2],
    )
    smallest = {tensor: row[0].rule for tensor, row in table.items()}

    def recipe(upgrades: int) -> Recipe:
        chosen = smallest | {tensor: rule for _, tensor, rule in order[:upgrades]}
        return Recipe(tuple(chosen.values()))

    least = size_of(recipe(0))
    if least > target_bytes:
        raise UnsupportedModel(
            f"the smallest formats make a download of {least} bytes, more than the {target_bytes} asked for; "
            "give a larger --target-size or --embedding-bits 4"
        )
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size_of(recipe(middle)) <= target_bytes else (low, middle - 1)
    return recipe(low)
