"""Builds Qwen 3 decoders (Yang et al. 2025): Qwen 2 with QK-norm in place of biases."""

from dataclasses import dataclass, replace

from convert.families.blocks.gated_decoder import GatedDecoder
from convert.families.decoder import decoder_family
from convert.families.qwen2 import Qwen2Config, layers


@dataclass(frozen=True, kw_only=True)
class Qwen3Config(Qwen2Config):
    """Fields of a Hugging Face ``config.json`` with ``model_type: qwen3``."""

    head_dim: int | None = 128
    attention_bias: bool = False


def describe(config: Qwen3Config) -> GatedDecoder:
    """Queries and keys are normalized head by head."""
    return replace(
        config.describe(layers(config)),
        qk_norm=True,
        qkv_bias=config.attention_bias,
        output_bias=config.attention_bias,
    )


FAMILY = decoder_family(Qwen3Config, describe)
