"""Measures what a variant can do: perplexity, accuracy, and how near it stays to another variant of the same model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert import manifest
from convert.errors import BadModelDirectory, FeatherweightError, UnsupportedModel
from convert.verification import empty_cache, open_session

BATCH_SIZE = 16
CHARACTERS_PER_TOKEN = 64
"""No more of a text is tokenized than this times the tokens asked for."""
_ROWS = 64  # positions whose probabilities are computed at once, in float64

FloatArray = NDArray[np.float64]


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


@dataclass(frozen=True)
class Accuracy:
    """Share of ``examples`` whose most likely label is the right one."""

    accuracy: float
    examples: int


@dataclass(frozen=True)
class Similarity:
    """Cosine between the embeddings of two variants, over ``texts``."""

    mean_cosine: float
    min_cosine: float
    texts: int


def perplexity(model_dir: Path, dtype: str, text: str, *, window: int = 512, max_tokens: int = 4096) -> Perplexity:
    """Perplexity of the first ``max_tokens`` tokens of ``text`` in windows that each start afresh (Jelinek 1977).

    The first token of a window is not scored, unless the tokenizer puts a special token before it. A ``window``
    longer than the model's context is taken as the context.

    Raises:
        UnsupportedModel: the model is not a decoder.
        FeatherweightError: the text has fewer than two tokens.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    content = _load(model_dir, "text-generation")
    session, window = _open(model_dir, content, dtype), min(window, content.model.context_length)
    total, count = 0.0, 0
    for ids, scored in _windows(model_dir, text, window, max_tokens):
        targets = ids[len(ids) - scored :]
        for rows, logits in _slices(_logits(session, ids)[-scored - 1 : -1]):
            log_likelihoods = _log_softmax(logits)[np.arange(len(logits)), targets[rows]]
            total -= float(log_likelihoods.sum())
        count += scored
    return Perplexity(float(np.exp(total / count)), count, window)


def agreement(
    model_dir: Path, dtype: str, against: str, text: str, *, window: int = 512, max_tokens: int = 4096
) -> Agreement:
    """Compare the next-token distributions of two variants, teacher-forced on the windows of `perplexity`.

    Raises what `perplexity` raises.
    """
    content = _load(model_dir, "text-generation")
    variant, reference = (_open(model_dir, content, name) for name in (dtype, against))
    same, divergences = 0, []
    for ids, _ in _windows(model_dir, text, min(window, content.model.context_length), max_tokens):
        other = _logits(variant, ids)
        for rows, expected in _slices(_logits(reference, ids)):
            same += int((expected.argmax(axis=-1) == other[rows].argmax(axis=-1)).sum())
            p, q = _log_softmax(expected), _log_softmax(other[rows])
            divergences.append((np.exp(p) * (p - q)).sum(axis=-1))
    kl = np.concatenate(divergences)
    return Agreement(same / len(kl), float(kl.mean()), float(kl.max()), len(kl))


def accuracy(model_dir: Path, dtype: str, examples: Sequence[tuple[str, str]]) -> Accuracy:
    """Share of (text, label) pairs that a classifier labels right; labels by name or index.

    Raises:
        UnsupportedModel: the model has no classification head, or a label is none of the model's.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    content = _load(model_dir, "text-classification")
    labels = content.model.labels or ()
    numbers = {str(index): index for index in range(len(labels))} | {name: i for i, name in enumerate(labels)}
    unknown = sorted({label for _, label in examples} - numbers.keys())
    if unknown or not examples:
        found = f"the label {unknown[0]!r}" if unknown else "no line"
        raise UnsupportedModel(f"found {found}; expected lines of TEXT<tab>LABEL with {' or '.join(labels)}")
    session, right = _open(model_dir, content, dtype), 0
    texts = [text for text, _ in examples]
    for rows, logits, _ in _encode(session, model_dir, content.model.context_length, texts):
        right += int((logits.argmax(axis=-1) == [numbers[label] for _, label in examples[rows]]).sum())
    return Accuracy(right / len(examples), len(examples))


def similarity(model_dir: Path, dtype: str, against: str, texts: Sequence[str]) -> Similarity:
    """Cosine between what two variants of an encoder make of each text, pooled as the model asks.

    Raises:
        UnsupportedModel: the model does not make embeddings.
        FeatherweightError: there is no text.
        BadModelDirectory: a variant is not there, or onnxruntime refuses it.
    """
    content = _load(model_dir, "feature-extraction")
    if not texts:
        raise FeatherweightError("the text has no line; give a file with one text per line")
    first, second = (_embeddings(model_dir, content, name, texts) for name in (dtype, against))
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosines = (first * second).sum(axis=-1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return Similarity(float(cosines.mean()), float(cosines.min()), len(texts))


def _embeddings(model_dir: Path, content: manifest.Manifest, dtype: str, texts: Sequence[str]) -> FloatArray:
    """[texts, hidden]"""
    pooling, session = content.model.pooling, _open(model_dir, content, dtype)
    limit = pooling.max_tokens if pooling else content.model.context_length
    parts = []
    for _, hidden, mask in _encode(session, model_dir, limit, texts):
        if pooling is not None and pooling.mode == "cls":
            parts.append(hidden[:, 0])
        else:
            weights = mask[..., None]
            parts.append((hidden * weights).sum(axis=1) / weights.sum(axis=1))
    return np.concatenate(parts)


def _encode(
    session: Any, model_dir: Path, limit: int, texts: Sequence[str]
) -> Iterator[tuple[slice, FloatArray, NDArray[np.int64]]]:
    """Run ``texts`` in batches: which of them, the first output of the model, and the mask [batch, tokens]."""
    tokenizer = _tokenizer(model_dir)
    tokenizer.enable_padding()
    tokenizer.enable_truncation(limit)
    for start in range(0, len(texts), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        encoded = tokenizer.encode_batch(list(texts[rows]))
        mask = np.array([item.attention_mask for item in encoded], np.int64)
        feed = {"input_ids": np.array([item.ids for item in encoded], np.int64), "attention_mask": mask}
        yield rows, np.asarray(_run(session, feed), np.float64), mask


def _windows(model_dir: Path, text: str, window: int, max_tokens: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Token ids of each window, and how many of them, at the end, can be predicted."""
    tokenizer = _tokenizer(model_dir)
    marked = tokenizer.encode("a")
    prefix = [
        item for item, _ in takewhile(lambda pair: pair[1], zip(marked.ids, marked.special_tokens_mask, strict=True))
    ]
    ids = tokenizer.encode(text[: max_tokens * CHARACTERS_PER_TOKEN], add_special_tokens=False).ids[:max_tokens]
    least = 1 if prefix else 2
    if len(ids) < least:
        raise FeatherweightError(f"the text has {len(ids)} tokens, too few to predict any; give a longer one")
    step = max(window - len(prefix), least)
    for start in range(0, len(ids), step):
        piece = ids[start : start + step]
        if len(piece) >= least:
            yield np.array(prefix + piece, np.int64), len(piece) - (least - 1)


def _logits(session: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits [tokens, vocab] of a whole sequence."""
    row = ids[None]
    feed = {"input_ids": row, "attention_mask": np.ones_like(row), "num_logits_to_keep": np.array(0)}
    logits: NDArray[np.float32] = _run(session, {**feed, **empty_cache(session.get_inputs())})[0]
    return logits


def _slices(logits: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    for start in range(0, len(logits), _ROWS):
        rows = slice(start, start + _ROWS)
        yield rows, logits[rows]


def _log_softmax(logits: NDArray[np.float32]) -> FloatArray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _load(model_dir: Path, task: str) -> manifest.Manifest:
    content = manifest.load(model_dir)
    if content.model.task != task:
        raise UnsupportedModel(f"{model_dir}: is a {content.model.task} model; this measure needs {task}")
    return content


def _open(model_dir: Path, content: manifest.Manifest, dtype: str) -> Any:
    variant = content.variant(dtype)
    try:
        return open_session(model_dir, variant)
    except Exception as error:  # onnxruntime's errors have no common public base
        raise BadModelDirectory(f"{model_dir / variant.graph}: onnxruntime refuses it: {error}") from error


def _run(session: Any, feed: dict[str, NDArray[Any]]) -> Any:
    try:
        return session.run(None, feed)[0]
    except Exception as error:  # as above
        raise BadModelDirectory(f"onnxruntime cannot run the model: {error}; try 'featherweight verify'") from error


def _tokenizer(model_dir: Path) -> Any:
    from tokenizers import Tokenizer  # slow to import

    path = model_dir / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise BadModelDirectory(f"{path}: is not a tokenizer: {error}; convert the model again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()  # sentence-transformers ships both switched on
    return tokenizer
