"""Tiny decoders of every family, whose logits by the original implementations are stored in tests/data/families.

Each case is a config with all sizes distinct; weights come from ``tiny.random_weights`` and are not stored.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.families import tiny

DATA = Path(__file__).parent.parent / "data" / "families"
TOKENS = 23
WINDOW = 8
"""Shorter than the sequences of the tests."""
POSITIONS = (0, WINDOW - 1, WINDOW, 15, TOKENS - 1)
"""Those whose logits are stored."""
_SIZES = {
    "hidden_size": 80,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 301,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_NO_HEAD_DIM = {key: value for key, value in _SIZES.items() if key != "head_dim"}
_GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True}

CASES: dict[str, dict[str, Any]] = {
    "gemma": {"model_type": "gemma", "hidden_act": "gelu_pytorch_tanh", **_SIZES, **_GEMMA, "num_key_value_heads": 1},
}
"""By name: config.json. A name is the model_type, or begins with it."""


def ids() -> list[int]:
    """The sequence that the stored logits belong to."""
    numbers: list[int] = np.random.default_rng(5).integers(4, 294, TOKENS).tolist()
    return numbers


@cache
def stored(name: str) -> dict[str, Any]:
    """Content of the file that ``make_decoder_vectors`` wrote: shapes, and logits [positions, vocab]."""
    content: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return content


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Of every tensor in the checkpoint of a case."""
    return {key: tuple(shape) for key, shape in stored(name)["shapes"].items()}


def save_checkpoint(directory: Path, name: str, **changes: Any) -> Path:
    """The checkpoint of a case; ``changes`` replace fields of its config."""
    return tiny.save_checkpoint(directory, CASES[name] | changes, tiny.random_weights(shapes(name)))
