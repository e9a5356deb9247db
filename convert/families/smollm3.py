"""Builds SmolLM3 decoders (Bakouch et al. 2025): Llama without positions in every fourth layer."""

from dataclasses import dataclass, replace

from convert.errors import BadCheckpoint
from convert.families.blocks.gated_decoder import GatedDecoder, Layer
from convert.families.decoder import FULL, SLIDING, DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class SmolLm3Config(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: smollm3``; 1 in no_rope_layers means a rotation."""

    max_position_embeddings: int = 32768
    rope_theta: float = 2e6
    tie_word_embeddings: bool = True
    use_sliding_window: bool = False
    sliding_window: int | None = None
    no_rope_layers: list[int] | None = None
    no_rope_layer_interval: int = 4
    attention_bias: bool = False
    mlp_bias: bool = False


def layers(config: SmolLm3Config) -> tuple[Layer, ...]:
    """Layers without positions may also see a window only."""
    rotary, window = config.rotary(), config.sliding_window if config.use_sliding_window else None
    interval = config.no_rope_layer_interval or config.num_hidden_layers + 1
    rotates = config.no_rope_layers
    if rotates is None:
        rotates = [(index + 1) % interval for index in range(config.num_hidden_layers)]
    if len(rotates) != config.num_hidden_layers:
        raise BadCheckpoint(
            f"no_rope_layers in config.json has {len(rotates)} entries, expected {config.num_hidden_layers}; "
            "fetch it from where the weights are from"
        )
    kinds = config.kinds([FULL if rotated else SLIDING for rotated in rotates])
    return tuple(
        config.layer(rotary if rotated else None, window if kind == SLIDING else None)
        for rotated, kind in zip(rotates, kinds, strict=True)
    )


def describe(config: SmolLm3Config) -> GatedDecoder:
    """Layers differ in their positions; biases where the config asks for them."""
    return replace(
        config.describe(layers(config)),
        qkv_bias=config.attention_bias,
        output_bias=config.attention_bias,
        mlp_bias=config.mlp_bias,
    )


FAMILY = decoder_family(SmolLm3Config, describe)
