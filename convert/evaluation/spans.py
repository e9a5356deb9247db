"""Owns the scoring of answers that are spans of a context: the likeliest span of each question (Devlin et al. 2019)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convert.errors import FeatherweightError
from convert.evaluation.answers import Answers, score
from convert.evaluation.variant import OpenVariant, open_variant

SPAN_TOKENS = 30
"""A longer span is no answer."""
_CONTEXT = 1


def spans(model_dir: Path, dtype: str, examples: Sequence[tuple[str, str, str]]) -> Answers:
    """Find the answer of each (question, context, answer) in its context, cut to what the model can read.

    Raises:
        UnsupportedModel: the model does not answer questions by spans.
        FeatherweightError: there is no example, or a question leaves no room for its context.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    if not examples:
        raise FeatherweightError("found no line; expected lines of QUESTION<tab>CONTEXT<tab>ANSWER")
    variant = open_variant(model_dir, dtype, "question-answering")
    return score([(_span(variant, question, context), answer) for question, context, answer in examples])


def _span(variant: OpenVariant, question: str, context: str) -> str:
    limit = variant.model.context_length
    if len(variant.tokenizer.encode(question, "").ids) >= limit:
        raise FeatherweightError(f"the question {question[:40]!r} leaves no room for its context in {limit} tokens")
    variant.tokenizer.enable_truncation(limit, strategy="only_second")
    encoded = variant.tokenizer.encode(question, context)
    variant.tokenizer.no_truncation()
    feed = {
        "input_ids": np.array([encoded.ids], np.int64),
        "attention_mask": np.array([encoded.attention_mask], np.int64),
        "token_type_ids": np.array([encoded.type_ids], np.int64),
    }
    wanted = {item.name for item in variant.session.get_inputs()}
    start, end = variant.run(
        {name: value for name, value in feed.items() if name in wanted}, ["start_logits", "end_logits"]
    )
    inside = np.array([part == _CONTEXT for part in encoded.sequence_ids])
    scores = np.where(inside, start[0], -np.inf)[:, None] + np.where(inside, end[0], -np.inf)[None]
    # Of all spans, those that end where they begin or up to SPAN_TOKENS later.
    allowed = np.triu(np.ones_like(scores, dtype=bool)) & ~np.triu(np.ones_like(scores, dtype=bool), SPAN_TOKENS)
    first, last = divmod(int(np.where(allowed, scores, -np.inf).argmax()), len(inside))
    return context[encoded.offsets[first][0] : encoded.offsets[last][1]]
