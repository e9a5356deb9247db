"""Runs a variant once, as a client would, and says what is wrong with what it gives."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from convert import manifest
from convert.kv_cache import KvCache
from convert.runtime import PAST, PRESENT, empty_cache, open_session

PREFILL_TOKENS = 4
ENCODER_TOKENS = 8
Arrays: TypeAlias = dict[str, NDArray[Any]]
Shapes: TypeAlias = dict[str, tuple[int | None, ...]]
"""Outputs that must be there; None stands for any length."""


def trial_run(model_dir: Path, variant: manifest.Variant, content: manifest.Manifest) -> Iterator[str]:
    """Problems of a real run: ENCODER_TOKENS of an encoder, PREFILL_TOKENS and one more of a decoder, or of both."""
    model = content.model
    try:
        if model.kv_cache is None:
            yield from _encode(open_session(model_dir / variant.graph), model)
        elif variant.encoder is None:
            yield from _decode(open_session(model_dir / variant.graph), model, model.kv_cache, {})
        else:
            encoder = open_session(model_dir / variant.encoder.graph)
            yield from _encode(encoder, model)
            states = _outputs(encoder, _feed(encoder.get_inputs(), ENCODER_TOKENS, model.vocab_size))
            given = {
                "encoder_hidden_states": states["last_hidden_state"],
                "encoder_attention_mask": np.ones((1, ENCODER_TOKENS), np.int64),
            }
            yield from _decode(open_session(model_dir / variant.graph), model, model.kv_cache, given)
    except Exception as error:  # onnxruntime's errors have no common public base
        yield f"onnxruntime refuses it: {' '.join(str(error).split())}"


def _encode(session: Any, model: manifest.Model) -> Iterator[str]:
    outputs = _outputs(session, _feed(session.get_inputs(), ENCODER_TOKENS, model.vocab_size))
    yield from _check_outputs("run", outputs, _encoder_shapes(model))


def _decode(session: Any, model: manifest.Model, kv_cache: KvCache, given: Arrays) -> Iterator[str]:
    """Two runs over the growing cache; ``given`` is what an encoder made."""
    declared = session.get_inputs()
    cache, past = empty_cache(declared), 0
    per_layer = 4 if given else 2
    if len(cache) != per_layer * kv_cache.layers:
        yield f"has {len(cache)} cache inputs, the manifest says {kv_cache.layers} layers"
    for phase, tokens in (("prefill", PREFILL_TOKENS), ("decode", 1)):
        outputs = _outputs(session, {**_feed(declared, tokens, model.vocab_size, past), **given, **cache})
        past += tokens
        shapes: Shapes = {
            name: (1, kv_cache.kv_heads, ENCODER_TOKENS if ".encoder." in name else past, kv_cache.head_dim)
            for name in outputs
            if name.startswith(PRESENT)
        }
        yield from _check_outputs(phase, outputs, {**shapes, "logits": (1, tokens, model.vocab_size)})
        cache = {name: outputs[PRESENT + name.removeprefix(PAST)] for name in cache}


def _encoder_shapes(model: manifest.Model) -> Shapes:
    labels = len(model.labels or ())
    by_task: dict[str, Shapes] = {
        "text-classification": {"logits": (1, labels)},
        "token-classification": {"logits": (1, ENCODER_TOKENS, labels)},
        "question-answering": {"start_logits": (1, ENCODER_TOKENS), "end_logits": (1, ENCODER_TOKENS)},
        "fill-mask": {"logits": (1, ENCODER_TOKENS, model.vocab_size)},
    }
    return by_task.get(model.task, {"last_hidden_state": (1, ENCODER_TOKENS, None)})


def _check_outputs(phase: str, outputs: Arrays, shapes: Shapes) -> Iterator[str]:
    for name in shapes.keys() - outputs.keys():
        yield f"{phase} gives no output {name}"
    for name, value in outputs.items():
        wanted = shapes.get(name, value.shape)
        if len(wanted) != value.ndim or any(
            want not in (None, have) for want, have in zip(wanted, value.shape, strict=True)
        ):
            yield f"{phase} gives {name} with shape {list(value.shape)}, expected {list(wanted)}"
        if not np.isfinite(value).all():
            yield f"{phase} gives {name} with values that are not finite"


def _feed(declared: Iterable[Any], tokens: int, vocab_size: int, past: int = 0) -> Arrays:
    """Some ``tokens`` ids after ``past`` others, without the cache."""
    feed = {
        "input_ids": (np.arange(1, tokens + 1, dtype=np.int64) % vocab_size)[None],
        "attention_mask": np.ones((1, past + tokens), np.int64),
        "token_type_ids": np.zeros((1, tokens), np.int64),
        "num_logits_to_keep": np.array(0, np.int64),
    }
    names = {item.name for item in declared}
    return {name: value for name, value in feed.items() if name in names}


def _outputs(session: Any, feed: Arrays) -> Arrays:
    names: Sequence[str] = [item.name for item in session.get_outputs()]
    return {name: np.asarray(value) for name, value in zip(names, session.run(None, feed), strict=True)}
