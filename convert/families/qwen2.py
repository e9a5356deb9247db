"""Builds Qwen 2 and 2.5 decoders (Yang et al. 2024): Llama with biases on queries, keys and values."""

from dataclasses import dataclass, replace

from convert.families.blocks.gated_decoder import Layer
from convert.families.decoder import FULL, SLIDING, DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class Qwen2Config(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: qwen2``."""

    max_position_embeddings: int = 32768
    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int = 28


def layers(config: Qwen2Config) -> tuple[Layer, ...]:
    """The upper layers may see a window only."""
    rotary, window = config.rotary(), config.sliding_window if config.use_sliding_window else None
    kinds = config.kinds(
        [SLIDING if index >= config.max_window_layers else FULL for index in range(config.num_hidden_layers)]
    )
    return tuple(config.layer(rotary, window if kind == SLIDING else None) for kind in kinds)


FAMILY = decoder_family(Qwen2Config, lambda config: replace(config.describe(layers(config)), qkv_bias=True))
