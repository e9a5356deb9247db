"""Owns the shape of a decoder's KV cache: families know it, the manifest tells it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KvCache:
    """``layers`` x keys and values [batch, kv_heads, tokens, head_dim]."""

    layers: int
    kv_heads: int
    head_dim: int
