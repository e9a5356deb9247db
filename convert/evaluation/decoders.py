"""Owns the measures of decoders: perplexity of a text, and how far two variants' next-token distributions lie apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert import runtime
from convert.evaluation import metrics
from convert.evaluation.variant import OpenVariant, open_variant

TASK = "text-generation"
_ROWS = 64  # positions whose probabilities are computed at once, in float64


@dataclass(frozen=True)
class Perplexity:
    """``perplexity = exp(mean negative log likelihood)`` over ``tokens`` predicted tokens, without overlap."""

    perplexity: float
    tokens: int
    window: int


@dataclass(frozen=True)
class Agreement:
    """How a decoder's next-token distributions differ from a reference's over ``tokens`` positions.

    ``top1_agreement`` is the share of positions with the same most likely token; the divergences are
    KL(reference || variant) in nats.
    """

    top1_agreement: float
    mean_kl_nats: float
    max_kl_nats: float
    tokens: int


def perplexity(model_dir: Path, dtype: str, text: str, *, window: int = 512, max_tokens: int = 4096) -> Perplexity:
    """Perplexity of the first ``max_tokens`` tokens of ``text`` in windows that each start afresh (Jelinek 1977).

    The first token of a window is not scored, unless the tokenizer puts a special token before it. A ``window``
    longer than the model's context is taken as the context.

    Raises:
        UnsupportedModel: the model is not a decoder.
        FeatherweightError: the text has fewer than two tokens.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    variant = open_variant(model_dir, dtype, TASK)
    window = min(window, variant.model.context_length)
    total, count = 0.0, 0
    for ids, scored in runtime.windows(variant.tokenizer, text, window, max_tokens):
        targets = ids[len(ids) - scored :]
        for rows, logits in _slices(_logits(variant, ids)[-scored - 1 : -1]):
            log_likelihoods = metrics.log_softmax(logits)[np.arange(len(logits)), targets[rows]]
            total -= float(log_likelihoods.sum())
        count += scored
    return Perplexity(float(np.exp(total / count)), count, window)


def agreement(
    model_dir: Path, dtype: str, against: tuple[Path, str], text: str, *, window: int = 512, max_tokens: int = 4096
) -> Agreement:
    """Compare with the variant ``against`` (directory, dtype), teacher-forced on the windows of `perplexity`.

    Raises what `perplexity` raises.
    """
    variant, reference = open_variant(model_dir, dtype, TASK), open_variant(*against, TASK)
    same, divergences = 0, []
    for ids, _ in runtime.windows(variant.tokenizer, text, min(window, variant.model.context_length), max_tokens):
        other = _logits(variant, ids)
        for rows, expected in _slices(_logits(reference, ids)):
            same += int((expected.argmax(axis=-1) == other[rows].argmax(axis=-1)).sum())
            pair = metrics.log_softmax(expected), metrics.log_softmax(other[rows])
            divergences.append(metrics.kl_divergence(*pair))
    kl = np.concatenate(divergences)
    return Agreement(same / len(kl), float(kl.mean()), float(kl.max()), len(kl))


def _logits(variant: OpenVariant, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits [tokens, vocab] of a whole sequence."""
    logits: NDArray[np.float32] = variant.run(runtime.whole_sequence(variant.session, ids))[0]
    return logits


def _slices(logits: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    for start in range(0, len(logits), _ROWS):
        rows = slice(start, start + _ROWS)
        yield rows, logits[rows]
