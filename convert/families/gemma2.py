"""Builds Gemma 2 decoders (Riviere et al. 2024): windows in every other layer, normalized branches, soft caps."""

from dataclasses import dataclass, replace

from convert.families.blocks.gated_decoder import GatedDecoder, Layer
from convert.families.decoder import FULL, SLIDING, DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class Gemma2Config(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: gemma2``."""

    head_dim: int | None = 256
    hidden_activation: str = "gelu_pytorch_tanh"
    max_position_embeddings: int = 8192
    tie_word_embeddings: bool = True
    attention_bias: bool = False
    query_pre_attn_scalar: int | float = 256
    sliding_window: int | None = 4096
    attn_logit_softcapping: float | None = 50.0
    final_logit_softcapping: float | None = 30.0


def layers(config: Gemma2Config) -> tuple[Layer, ...]:
    """Layers with and without a window take turns."""
    rotary = config.rotary()
    kinds = config.kinds([FULL if index % 2 else SLIDING for index in range(config.num_hidden_layers)])
    return tuple(config.layer(rotary, config.sliding_window if kind == SLIDING else None) for kind in kinds)


def describe(config: Gemma2Config, layers: tuple[Layer, ...]) -> GatedDecoder:
    """Gemma with norms on both sides of the branches, and bounded scores and logits."""
    scalar = config.query_pre_attn_scalar
    return replace(
        config.describe(layers),
        activation=config.hidden_activation,
        norm_offset=1.0,
        scaled_embedding=True,
        sandwich_norms=True,
        qkv_bias=config.attention_bias,
        output_bias=config.attention_bias,
        attention_scale=None if scalar in (0, config.heads().size) else scalar**-0.5,
        attention_softcap=config.attn_logit_softcapping,
        logits_softcap=config.final_logit_softcapping,
    )


FAMILY = decoder_family(Gemma2Config, lambda config: describe(config, layers(config)))
