"""A plain numpy DistilBERT (Sanh et al. 2019) against which graphs are compared."""

from collections.abc import Callable, Mapping
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
_erf = np.vectorize(erf, otypes=[np.float64])


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centered = x - x.mean(axis=-1, keepdims=True)
    return centered / np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + 1e-12) * weight + bias


def hidden_state(
    read: Callable[[str], Array], config: Mapping[str, Any], ids: NDArray[np.int64], mask: NDArray[np.int64]
) -> Array:
    """Last hidden state [batch, tokens, dim]."""
    batch, tokens = ids.shape
    heads, dim = config["n_heads"], config["dim"]

    def dense(x: Array, name: str) -> Array:
        return x @ read(f"{name}.weight").T + read(f"{name}.bias")

    def norm(x: Array, name: str) -> Array:
        return layer_norm(x, read(f"{name}.weight"), read(f"{name}.bias"))

    x = read("embeddings.word_embeddings.weight")[ids] + read("embeddings.position_embeddings.weight")[:tokens]
    x = norm(x, "embeddings.LayerNorm")
    hidden = np.where(mask[:, None, None, :] == 1, 0.0, -np.inf)
    for layer in range(config["n_layers"]):
        name = f"transformer.layer.{layer}"
        q, k, v = (
            dense(x, f"{name}.attention.{letter}_lin").reshape(batch, tokens, heads, -1).transpose(0, 2, 1, 3)
            for letter in "qkv"
        )
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(dim // heads) + hidden
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        joined = (weights @ v).transpose(0, 2, 1, 3).reshape(batch, tokens, dim)
        x = norm(x + dense(joined, f"{name}.attention.out_lin"), f"{name}.sa_layer_norm")
        wide = dense(x, f"{name}.ffn.lin1")
        wide = wide * 0.5 * (1 + _erf(wide / np.sqrt(2)))
        x = norm(x + dense(wide, f"{name}.ffn.lin2"), f"{name}.output_layer_norm")
    return x
