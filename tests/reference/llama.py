"""A plain numpy Llama (Touvron et al. 2023), written from the paper, against which graphs are compared."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotate(x: Array, theta: float) -> Array:
    """Rotary embedding of x [heads, tokens, size], in the half-split form of Hugging Face."""
    _, tokens, size = x.shape
    frequency = 1.0 / theta ** (np.arange(0, size, 2, dtype=np.float32) / np.float32(size))
    angle = np.arange(tokens, dtype=np.float32)[:, None] * frequency
    cosine, sine = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    low, high = np.split(x, 2, axis=-1)
    return np.concatenate([low * cosine - high * sine, high * cosine + low * sine], axis=-1)


def softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def logits(read: Callable[[str], Array], config: Mapping[str, Any], ids: NDArray[np.int64]) -> Array:
    """Logits [tokens, vocab] of one sequence, in the precision that ``read`` returns weights in."""
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    size = config.get("head_dim") or config["hidden_size"] // heads
    epsilon, theta = config["rms_norm_eps"], config["rope_theta"]
    embedding = read("model.embed_tokens.weight")
    x = embedding[ids]
    tokens = len(ids)
    causal = np.triu(np.full((tokens, tokens), -np.inf, x.dtype), 1)

    def split(value: Array, count: int) -> Array:
        return value.reshape(tokens, count, size).transpose(1, 0, 2)

    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        h = rms_norm(x, read(f"{name}.input_layernorm.weight"), epsilon)
        q, k, v = (h @ read(f"{name}.self_attn.{letter}_proj.weight").T for letter in "qkv")
        queries, keys = rotate(split(q, heads), theta), rotate(split(k, kv_heads), theta)
        values = split(v, kv_heads)
        keys, values = (np.repeat(part, heads // kv_heads, axis=0) for part in (keys, values))
        weights = softmax(queries @ keys.transpose(0, 2, 1) / np.sqrt(np.asarray(size, x.dtype)) + causal)
        joined = (weights @ values).transpose(1, 0, 2).reshape(tokens, heads * size)
        x = x + joined @ read(f"{name}.self_attn.o_proj.weight").T
        h = rms_norm(x, read(f"{name}.post_attention_layernorm.weight"), epsilon)
        gate = h @ read(f"{name}.mlp.gate_proj.weight").T
        up = h @ read(f"{name}.mlp.up_proj.weight").T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ read(f"{name}.mlp.down_proj.weight").T
    x = rms_norm(x, read("model.norm.weight"), epsilon)
    head = embedding if config.get("tie_word_embeddings") else read("lm_head.weight")
    return x @ head.T
