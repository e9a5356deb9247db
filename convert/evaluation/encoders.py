"""Owns the measures of encoders: the cosine of embeddings, and the labels that a classifier gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.errors import FeatherweightError, UnsupportedModel
from convert.evaluation import metrics
from convert.evaluation.metrics import FloatArray
from convert.evaluation.variant import OpenVariant, open_variant

BATCH_SIZE = 16


@dataclass(frozen=True)
class Classification:
    """Share of ``examples`` whose most likely label is the right one, and the mean F1 of the labels."""

    accuracy: float
    macro_f1: float
    examples: int


@dataclass(frozen=True)
class Similarity:
    """Cosine between the embeddings of two variants, over ``texts``."""

    mean_cosine: float
    min_cosine: float
    texts: int


def classification(model_dir: Path, dtype: str, examples: Sequence[tuple[str, str]]) -> Classification:
    """Score a classifier on (text, label) pairs; labels by name or index.

    Raises:
        UnsupportedModel: the model has no classification head, or a label is none of the model's.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    variant = open_variant(model_dir, dtype, "text-classification")
    labels = variant.model.labels or ()
    numbers = {str(index): index for index in range(len(labels))} | {name: i for i, name in enumerate(labels)}
    unknown = sorted({label for _, label in examples} - numbers.keys())
    if unknown or not examples:
        found = f"the label {unknown[0]!r}" if unknown else "no line"
        raise UnsupportedModel(f"found {found}; expected lines of TEXT<tab>LABEL with {' or '.join(labels)}")
    given: list[int] = []
    for logits, _ in _encode(variant, variant.model.context_length, [text for text, _ in examples]):
        given += logits.argmax(axis=-1).tolist()
    wanted = [numbers[label] for _, label in examples]
    return Classification(metrics.accuracy(given, wanted), metrics.macro_f1(given, wanted), len(examples))


def similarity(model_dir: Path, dtype: str, against: tuple[Path, str], texts: Sequence[str]) -> Similarity:
    """Cosine between what a variant and the variant ``against`` (directory, dtype) make of each text, pooled.

    Raises:
        UnsupportedModel: the model does not make embeddings.
        FeatherweightError: there is no text.
        BadModelDirectory: a variant is not there, or onnxruntime refuses it.
    """
    first, second = embeddings(model_dir, dtype, texts), embeddings(*against, texts)
    cosines = metrics.cosines(first, second)
    return Similarity(float(cosines.mean()), float(cosines.min()), len(texts))


def embeddings(model_dir: Path, dtype: str, texts: Sequence[str]) -> FloatArray:
    """[texts, hidden], pooled as the model asks, not normalized; raises what `similarity` raises."""
    variant = open_variant(model_dir, dtype, "feature-extraction")
    if not texts:
        raise FeatherweightError("the text has no line; give a file with one text per line")
    pooling = variant.model.pooling
    limit = pooling.max_tokens if pooling else variant.model.context_length
    parts = []
    for hidden, mask in _encode(variant, limit, texts):
        if pooling is not None and pooling.mode == "cls":
            parts.append(hidden[:, 0])
        else:
            weights = mask[..., None]
            parts.append((hidden * weights).sum(axis=1) / weights.sum(axis=1))
    return np.concatenate(parts)


def _encode(variant: OpenVariant, limit: int, texts: Sequence[str]) -> Iterator[tuple[FloatArray, NDArray[np.int64]]]:
    """Run ``texts`` in batches: the first output of the model, and the mask [batch, tokens]."""
    variant.tokenizer.enable_padding()
    variant.tokenizer.enable_truncation(limit)
    wanted = {item.name for item in variant.session.get_inputs()}
    for start in range(0, len(texts), BATCH_SIZE):
        encoded = variant.tokenizer.encode_batch(list(texts[start : start + BATCH_SIZE]))
        mask = np.array([item.attention_mask for item in encoded], np.int64)
        ids = np.array([item.ids for item in encoded], np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        known = {name: value for name, value in feed.items() if name in wanted}
        yield np.asarray(variant.run(known), np.float64), mask
