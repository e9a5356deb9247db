"""Measures what a variant can do: perplexity of decoders on a text, accuracy of classifiers on labelled lines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert import manifest
from convert.errors import BadModelDirectory, UnsupportedModel

BATCH_SIZE = 16


@dataclass(frozen=True)
class Perplexity:
    """``perplexity = exp(mean negative log likelihood)`` over ``tokens`` predicted tokens, without overlap."""

    perplexity: float
    tokens: int
    window: int


@dataclass(frozen=True)
class Accuracy:
    """Share of ``examples`` whose most likely label is the right one."""

    accuracy: float
    examples: int


def perplexity(model_dir: Path, dtype: str, text: str, *, window: int = 512, max_tokens: int = 4096) -> Perplexity:
    """Perplexity of ``text`` in windows of ``window`` tokens (Jelinek et al. 1977); each window starts afresh.

    Raises:
        UnsupportedModel: the model is not a decoder, or the text is too short for one window.
        BadModelDirectory: the variant is not there.
    """
    content, session = _open(model_dir, dtype, "text-generation")
    assert content.model.kv_cache is not None
    ids = _tokenizer(model_dir).encode(text, add_special_tokens=False).ids[: max_tokens + max_tokens // window + 1]
    if len(ids) < window:
        raise UnsupportedModel(f"the text has {len(ids)} tokens, fewer than one window of {window}; give a longer one")
    kinds = {item.name: item for item in session.get_inputs()}
    past = {
        name: np.zeros((1, item.shape[1], 0, item.shape[3]), np.float16 if "float16" in item.type else np.float32)
        for name, item in kinds.items()
        if name.startswith("past_key_values")
    }
    total, count = 0.0, 0
    for start in range(0, len(ids) - window + 1, window):
        piece = np.array([ids[start : start + window]], np.int64)
        feed = {"input_ids": piece, "attention_mask": np.ones_like(piece), "num_logits_to_keep": np.array(0), **past}
        logits = session.run(["logits"], feed)[0][0, :-1]
        total -= float(_log_softmax(logits)[np.arange(window - 1), piece[0, 1:]].sum())
        count += window - 1
    return Perplexity(float(np.exp(total / count)), count, window)


def accuracy(model_dir: Path, dtype: str, examples: list[tuple[str, str]]) -> Accuracy:
    """Share of (text, label) pairs that a classifier labels right; labels by name or index.

    Raises:
        UnsupportedModel: the model has no classification head, or a label is none of the model's.
        BadModelDirectory: the variant is not there.
    """
    content, session = _open(model_dir, dtype, "text-classification")
    labels = content.model.labels or ()
    numbers = {name: index for index, name in enumerate(labels)} | {str(i): i for i in range(len(labels))}
    unknown = sorted({label for _, label in examples} - numbers.keys())
    if unknown or not examples:
        raise UnsupportedModel(f"labels {unknown} are not the model's; expected lines of TEXT<tab>LABEL with {labels}")
    tokenizer = _tokenizer(model_dir)
    tokenizer.enable_padding()
    tokenizer.enable_truncation(content.model.context_length)
    right = 0
    for start in range(0, len(examples), BATCH_SIZE):
        batch = examples[start : start + BATCH_SIZE]
        encoded = tokenizer.encode_batch([text for text, _ in batch])
        feed = {
            "input_ids": np.array([item.ids for item in encoded], np.int64),
            "attention_mask": np.array([item.attention_mask for item in encoded], np.int64),
        }
        found = session.run(["logits"], feed)[0].argmax(axis=-1)
        right += int((found == [numbers[label] for _, label in batch]).sum())
    return Accuracy(right / len(examples), len(examples))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _open(model_dir: Path, dtype: str, task: str) -> tuple[manifest.Manifest, Any]:
    from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession  # slow to import

    content = manifest.load(model_dir)
    if content.model.task != task:
        raise UnsupportedModel(f"{model_dir} is a {content.model.task} model; this measure needs {task}")
    variant = next((item for item in content.variants if item.dtype == dtype), None)
    if variant is None:
        there = ", ".join(str(item.dtype) for item in content.variants)
        raise BadModelDirectory(f"{model_dir} has no {dtype} variant, only {there}; convert it with --dtype {dtype}")
    return content, InferenceSession(model_dir / variant.graph, providers=["CPUExecutionProvider"])


def _tokenizer(model_dir: Path) -> Any:
    from tokenizers import Tokenizer  # slow to import

    return Tokenizer.from_file(str(model_dir / "tokenizer.json"))
