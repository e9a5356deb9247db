"""Builds Llama decoders (Touvron et al. 2023), the plain case of the gated decoder."""

from dataclasses import dataclass, replace

from convert.families.blocks.gated_decoder import GatedDecoder
from convert.families.decoder import DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: llama``."""

    attention_bias: bool = False
    mlp_bias: bool = False


def describe(config: LlamaConfig) -> GatedDecoder:
    """Every layer the same; biases where the config asks for them."""
    return replace(
        config.describe(config.layers(config.rotary())),
        qkv_bias=config.attention_bias,
        output_bias=config.attention_bias,
        mlp_bias=config.mlp_bias,
    )


FAMILY = decoder_family(LlamaConfig, describe)
