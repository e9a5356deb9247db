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
_BASE = {**_SIZES, "hidden_act": "silu"}
_GEMMA = {**_SIZES, "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}

CASES: dict[str, dict[str, Any]] = {
    "gemma": {"model_type": "gemma", **_GEMMA, "hidden_act": "gelu_pytorch_tanh", "num_key_value_heads": 1},
    "gemma2": {
        "model_type": "gemma2",
        **_GEMMA,
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 150.0,
    },
    "gemma3_text": {
        "model_type": "gemma3_text",
        **_GEMMA,
        "sliding_window": WINDOW,
        "sliding_window_pattern": 2,
        "query_pre_attn_scalar": 24,
        "rope_theta": 50000.0,
        "rope_local_base_freq": 3000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 96,
        "n_layer": 3,
        "n_head": 4,
        "n_inner": 160,
        "n_positions": 64,
        "vocab_size": 301,
        "scale_attn_by_inverse_layer_idx": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "llama_scaled": {
        "model_type": "llama",
        **_BASE,
        "rope_scaling": _LLAMA3,
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": False,
    },
    "mistral": {"model_type": "mistral", **_BASE, "sliding_window": WINDOW, "tie_word_embeddings": False},
    "phi3": {
        "model_type": "phi3",
        **_BASE,
        "partial_rotary_factor": 0.5,
        "sliding_window": WINDOW,
        "tie_word_embeddings": False,
    },
    "phi3_longrope": {
        "model_type": "phi3",
        **_BASE,
        "hidden_size": 96,
        "head_dim": 16,
        "original_max_position_embeddings": 32,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + 0.1 * number for number in range(8)],
            "long_factor": [2.0 + 0.3 * number for number in range(8)],
        },
        "tie_word_embeddings": False,
    },
    "qwen2": {
        "model_type": "qwen2",
        **_BASE,
        "use_sliding_window": True,
        "sliding_window": WINDOW,
        "max_window_layers": 1,
        "tie_word_embeddings": True,
    },
    "qwen3": {"model_type": "qwen3", **_BASE, "tie_word_embeddings": False},
    "smollm3": {"model_type": "smollm3", **_BASE, "no_rope_layers": [1, 0, 1], "tie_word_embeddings": True},
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
