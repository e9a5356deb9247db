"""Builds Mistral decoders (Jiang et al. 2023): Llama with a sliding window."""

from dataclasses import dataclass

from convert.families.decoder import DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class MistralConfig(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: mistral``."""

    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096


FAMILY = decoder_family(
    MistralConfig, lambda config: config.describe(config.layers(config.rotary(), config.sliding_window))
)
