"""Owns how the metadata of a GGUF file becomes a Hugging Face config.json: one function per architecture.

What llama.cpp computes from the architecture alone (activations, window patterns, a scale of the scores) is not in the
file; the functions say it. Source: convert_hf_to_gguf.py and src/models/ of llama.cpp.
"""

import math
from typing import Any

import numpy as np

from convert.checkpoint.gguf import GgufFile
from convert.checkpoint.gguf_metadata import Metadata
from convert.checkpoint.tensor import LazyTensor
from convert.checkpoint.untrusted import quote
from convert.errors import BadCheckpoint, UnsupportedModel

_LLAMA3_FACTORS = "rope_freqs.weight"
_SHORT_FACTORS, _LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"
ROPE_TENSORS = (_LLAMA3_FACTORS, _SHORT_FACTORS, _LONG_FACTORS)
"""Tensors that say how positions are scaled: they become part of the config."""
_GEMMA2_27B_LAYERS, _GEMMA3_27B_LAYERS = 46, 62
"""The two sizes whose scores are scaled by the width of the model, not by that of a head."""


class _Facts:
    """The metadata of one architecture, by keys without its name."""

    def __init__(self, gguf: GgufFile) -> None:
        self.gguf, self.metadata, self.tensors = gguf, gguf.metadata, gguf.tensors
        self.prefix = gguf.metadata.text("general.architecture")

    def __contains__(self, key: str) -> bool:
        return f"{self.prefix}.{key}" in self.metadata

    def integer(self, key: str, *, default: int | None = None, least: int = 0) -> int:
        return self.metadata.integer(f"{self.prefix}.{key}", default=default, least=least)

    def number(self, key: str, *, default: float | None = None) -> float:
        return self.metadata.number(f"{self.prefix}.{key}", default=default)

    def text(self, key: str, *, default: str) -> str:
        return self.metadata.text(f"{self.prefix}.{key}", default=default)


def layer_count(gguf: GgufFile) -> int:
    """Number of layers that the metadata claims."""
    return _Facts(gguf).integer("block_count", least=1)


def llama(gguf: GgufFile) -> dict[str, Any]:
    """Llama, and those that are like it: Mistral, SmolLM."""
    facts = _Facts(gguf)
    config = _gated(facts, "LlamaForCausalLM", "llama") | _biases(facts)
    config["mlp_bias"] = any(name.endswith("ffn_gate.bias") for name in facts.tensors)
    return config | _scaling(facts, config)


def smollm3(gguf: GgufFile) -> dict[str, Any]:
    """Every fourth layer without positions."""
    config = llama(gguf) | {"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3"}
    return config | {"no_rope_layer_interval": 4}


def qwen2(gguf: GgufFile) -> dict[str, Any]:
    """Llama with biases on queries, keys and values, which the family takes for granted."""
    facts = _Facts(gguf)
    config = _gated(facts, "Qwen2ForCausalLM", "qwen2")
    return config | _scaling(facts, config)


def qwen3(gguf: GgufFile) -> dict[str, Any]:
    """Qwen 2 with QK-norm."""
    facts = _Facts(gguf)
    config = _gated(facts, "Qwen3ForCausalLM", "qwen3") | _biases(facts)
    return config | _scaling(facts, config)


def gemma(gguf: GgufFile) -> dict[str, Any]:
    """The tanh form of GELU."""
    facts = _Facts(gguf)
    config = _gated(facts, "GemmaForCausalLM", "gemma") | {"hidden_activation": "gelu_pytorch_tanh"}
    return config | _scaling(facts, config)


def gemma2(gguf: GgufFile) -> dict[str, Any]:
    """Gemma with windows and soft caps."""
    facts = _Facts(gguf)
    config = gemma(gguf) | {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}
    return config | {
        "attn_logit_softcapping": facts.number("attn_logit_softcapping", default=50.0),
        "final_logit_softcapping": facts.number("final_logit_softcapping", default=30.0),
        "query_pre_attn_scalar": _score_scalar(config, _GEMMA2_27B_LAYERS),
        "sliding_window": facts.integer("attention.sliding_window", least=1),
    }


def gemma3(gguf: GgufFile) -> dict[str, Any]:
    """Gemma with windows that have a rotation of their own."""
    facts = _Facts(gguf)
    config = gemma(gguf) | {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text"}
    if "final_logit_softcapping" in facts:
        config["final_logit_softcapping"] = facts.number("final_logit_softcapping")
    return config | {
        "query_pre_attn_scalar": _score_scalar(config, _GEMMA3_27B_LAYERS),
        "rope_local_base_freq": facts.number("rope.freq_base_swa", default=10000.0),
        "rope_theta": facts.number("rope.freq_base", default=1e6),
        "sliding_window": facts.integer("attention.sliding_window", least=1),
        "sliding_window_pattern": facts.integer("attention.sliding_window_pattern", default=6),
    }


def phi3(gguf: GgufFile) -> dict[str, Any]:
    """Partial rotation, and factors for long contexts."""
    facts = _Facts(gguf)
    config = _gated(facts, "Phi3ForCausalLM", "phi3", partial_rotation=True)
    length = facts.integer("rope.scaling.original_context_length", default=config["max_position_embeddings"], least=1)
    config["original_max_position_embeddings"] = length
    config["sliding_window"] = facts.integer("attention.sliding_window", default=0) or None
    if _SHORT_FACTORS not in facts.tensors:
        return config
    scaling: dict[str, Any] = {"rope_type": "longrope"}
    for key, name in (("short_factor", _SHORT_FACTORS), ("long_factor", _LONG_FACTORS)):
        if name in facts.tensors:
            scaling[key] = [float(str(value)) for value in facts.tensors[name].read().reshape(-1)]
    if "rope.scaling.attn_factor" in facts:
        scaling["attention_factor"] = facts.number("rope.scaling.attn_factor")
    return config | {"rope_scaling": scaling}


def gpt2(gguf: GgufFile) -> dict[str, Any]:
    """The one with learned positions; its config has names of its own."""
    facts = _Facts(gguf)
    vocab_size, hidden_size = _table(facts)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": facts.number("attention.layer_norm_epsilon"),
        "n_embd": hidden_size,
        "n_head": facts.integer("attention.head_count", least=1),
        "n_inner": facts.integer("feed_forward_length", default=4 * hidden_size, least=1),
        "n_layer": facts.integer("block_count", least=1),
        "n_positions": facts.integer("context_length", least=1),
        "tie_word_embeddings": "output.weight" not in facts.tensors,
        "vocab_size": vocab_size,
    }


def _table(facts: _Facts) -> tuple[int, int]:
    """Rows and width of the embedding table, the width being that of the metadata."""
    path = facts.metadata.path
    if "token_embd.weight" not in facts.tensors:
        raise BadCheckpoint(f"{path}: the tensor 'token_embd.weight' is missing; fetch the file again")
    vocab_size, hidden_size = (*facts.tensors["token_embd.weight"].shape, 0)[:2]
    if hidden_size != facts.integer("embedding_length", least=1):
        raise BadCheckpoint(
            f"{path}: 'token_embd.weight' has rows of {hidden_size}, expected {facts.prefix}.embedding_length; "
            "fetch the file again"
        )
    return vocab_size, hidden_size


def _gated(facts: _Facts, architecture: str, model_type: str, *, partial_rotation: bool = False) -> dict[str, Any]:
    """What the decoders with gated feed-forwards have in common."""
    path = facts.metadata.path
    if facts.integer("expert_count", default=0):
        raise UnsupportedModel(f"{path}: is a mixture of experts; expected a dense model, so choose another")
    vocab_size, hidden_size = _table(facts)
    heads = facts.integer("attention.head_count", least=1)
    if "attention.key_length" not in facts and hidden_size % heads:
        raise BadCheckpoint(
            f"{path}: {facts.prefix}.embedding_length is {hidden_size}, expected a multiple of {heads} heads; "
            "fetch the file again"
        )
    head_dim = facts.integer("attention.key_length", default=hidden_size // heads, least=2)
    rotated = facts.integer("rope.dimension_count", default=head_dim, least=2)
    equal = {"attention.value_length": facts.integer("attention.value_length", default=head_dim)}
    if not partial_rotation:
        equal["rope.dimension_count"] = rotated
    for key, value in equal.items():
        if value != head_dim:
            raise UnsupportedModel(
                f"{path}: {facts.prefix}.{key} differs from the head size {head_dim}, expected them equal; "
                "choose another model"
            )
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": hidden_size,
        "intermediate_size": facts.integer("feed_forward_length", least=1),
        "max_position_embeddings": facts.integer("context_length", least=1),
        "num_attention_heads": heads,
        "num_hidden_layers": facts.integer("block_count", least=1),
        "num_key_value_heads": facts.integer("attention.head_count_kv", default=heads, least=1),
        "rms_norm_eps": facts.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": facts.number("rope.freq_base", default=10000.0),
        "tie_word_embeddings": "output.weight" not in facts.tensors,
        "vocab_size": vocab_size,
        **({"partial_rotary_factor": rotated / head_dim} if partial_rotation else {}),
    }


def _biases(facts: _Facts) -> dict[str, Any]:
    return {"attention_bias": any(name.endswith("attn_q.bias") for name in facts.tensors)}


def _score_scalar(config: dict[str, Any], largest: int) -> int:
    """Width whose square root divides the scores of Gemma 2 and 3."""
    if config["num_hidden_layers"] == largest:
        return int(config["hidden_size"] // config["num_attention_heads"])
    return int(config["head_dim"])


def _scaling(facts: _Facts, config: dict[str, Any]) -> dict[str, Any]:
    """``rope_scaling`` of config.json, if there is any."""
    kind = facts.text("rope.scaling.type", default="none")
    if _LLAMA3_FACTORS in facts.tensors:
        factors = facts.tensors[_LLAMA3_FACTORS]
        return {"rope_scaling": _llama3_scaling(facts.metadata, factors, config["head_dim"], config["rope_theta"])}
    if kind == "linear":
        return {"rope_scaling": {"rope_type": "linear", "factor": facts.number("rope.scaling.factor")}}
    if kind != "none":
        raise UnsupportedModel(
            f"{facts.metadata.path}: scales its rope by {quote(kind)}, expected none, linear or llama3; "
            "choose another model"
        )
    return {}


def _llama3_scaling(metadata: Metadata, factors: LazyTensor, head_dim: int, theta: float) -> dict[str, Any]:
    """Parameters that reproduce the stored divisors of the rope frequencies (Llama 3.1 and later).

    GGUF keeps only the divisors, [head_dim / 2]; the released models all have these three constants.
    Source: the llama3 entry of modeling_rope_utils.py in transformers.
    """
    original_length, low, high = 8192, 1.0, 4.0
    stored = factors.read().reshape(-1)
    factor = float(np.max(stored, initial=1.0))
    frequencies = theta ** (-2 * np.arange(stored.size) / head_dim)
    smooth = np.clip((original_length * frequencies / (2 * math.pi) - low) / (high - low), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if stored.size != head_dim // 2 or not np.allclose(stored, expected, rtol=1e-4):
        raise UnsupportedModel(
            f"{metadata.path}: the rope factors in {quote(factors.name)} are not those of Llama 3; "
            "convert the safetensors checkpoint of the model"
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original_length,
    }
