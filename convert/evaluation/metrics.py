"""Owns the formulas: likelihoods, divergences, cosines, scores of labels and answers; numbers in, numbers out."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def log_softmax(logits: NDArray[np.floating]) -> FloatArray:
    """Log probabilities along the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def kl_divergence(expected: FloatArray, found: FloatArray) -> FloatArray:
    """KL(expected || found) in nats of log probabilities [..., classes] -> [...]."""
    result: FloatArray = (np.exp(expected) * (expected - found)).sum(axis=-1)
    return result


def cosines(first: FloatArray, second: FloatArray) -> FloatArray:
    """Cosine between the rows of [n, width] and of [n, width] -> [n]; 0 where one has no length."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    result: FloatArray = (first * second).sum(axis=-1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return result


def accuracy(found: Sequence[int], expected: Sequence[int]) -> float:
    """Share of equal pairs."""
    return sum(one == other for one, other in zip(found, expected, strict=True)) / len(expected)


def macro_f1(found: Sequence[int], expected: Sequence[int]) -> float:
    """Mean over the classes that occur in either of ``2 TP / (2 TP + FP + FN)``; every class weighs the same."""
    right = Counter(one for one, other in zip(found, expected, strict=True) if one == other)
    given, wanted = Counter(found), Counter(expected)
    classes = sorted(given.keys() | wanted.keys())
    return sum(2 * right[name] / (given[name] + wanted[name]) for name in classes) / len(classes)


def overlap_f1(found: Sequence[str], expected: Sequence[str]) -> float:
    """F1 of two bags of words; 1 where both are empty."""
    common = (Counter(found) & Counter(expected)).total()
    return 2 * common / (len(found) + len(expected)) if found or expected else 1.0
