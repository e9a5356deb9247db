"""Owns the scoring of written answers: greedy completions of prompts, by exact match and F1 (Rajpurkar et al. 2016)."""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert import runtime
from convert.checkpoint.untrusted import parse_json_object, read_small_file
from convert.errors import FeatherweightError
from convert.evaluation import metrics
from convert.evaluation.decoders import TASK
from convert.evaluation.variant import OpenVariant, open_variant

ANSWER_TOKENS = 48
"""A completion ends here, at a line end or at an end token."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Answers:
    """Means over ``examples``: answers that are equal, and the F1 of their words."""

    exact_match: float
    word_f1: float
    examples: int


def answers(model_dir: Path, dtype: str, examples: Sequence[tuple[str, str]]) -> Answers:
    """Complete each prompt of (prompt, answer) greedily, as it is, and compare the first line with the answer.

    Case, punctuation and articles do not count, as in SQuAD's own script.

    Raises:
        UnsupportedModel: the model is not a decoder.
        FeatherweightError: there is no example, or a prompt is empty or longer than the context.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    if not examples:
        raise FeatherweightError("found no line; expected lines of PROMPT<tab>ANSWER")
    variant = open_variant(model_dir, dtype, TASK)
    ends = _end_tokens(model_dir)
    return score([(_complete(variant, prompt, ends), answer) for prompt, answer in examples])


def score(pairs: Sequence[tuple[str, str]]) -> Answers:
    """Compare what was given with what was wanted, pair by pair."""
    words = [(_words(given), _words(wanted)) for given, wanted in pairs]
    equal = sum(given == wanted for given, wanted in words)
    shared = sum(metrics.overlap_f1(given, wanted) for given, wanted in words)
    return Answers(equal / len(pairs), shared / len(pairs), len(pairs))


def _words(text: str) -> list[str]:
    return re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split()


def _end_tokens(model_dir: Path) -> set[int]:
    path = model_dir / "generation_config.json"
    found = parse_json_object(read_small_file(path), str(path)).get("eos_token_id") if path.is_file() else None
    return {item for item in (found if isinstance(found, list) else [found]) if isinstance(item, int)}


def _complete(variant: OpenVariant, prompt: str, ends: set[int]) -> str:
    """The first line that greedy decoding puts after ``prompt``."""
    ids = variant.tokenizer.encode(prompt).ids
    if not 0 < len(ids) <= variant.model.context_length - ANSWER_TOKENS:
        limit = variant.model.context_length - ANSWER_TOKENS
        raise FeatherweightError(f"a prompt has {len(ids)} tokens, expected 1 to {limit}: {prompt[:40]!r}")
    names = [item.name for item in variant.session.get_outputs()]
    feed: dict[str, Any] = runtime.whole_sequence(variant.session, np.array(ids, np.int64))
    written: list[int] = []
    text = ""
    while len(written) < ANSWER_TOKENS:
        found = dict(zip(names, variant.run(feed, names), strict=True))
        token = int(found["logits"][0, -1].argmax())
        if token in ends:
            break
        written.append(token)
        text = variant.tokenizer.decode(written)
        if "\n" in text.lstrip():
            break
        cache = {runtime.PAST + name.removeprefix(runtime.PRESENT): found[name] for name in names if name != "logits"}
        mask = np.ones((1, len(ids) + len(written)), np.int64)
        feed = {**feed, **cache, "input_ids": np.array([[token]], np.int64), "attention_mask": mask}
    return (text.lstrip().splitlines() or [""])[0]
