"""Builds Gemma decoders (Mesnard et al. 2024): scaled embeddings, norms with weight 1 + w, GeGLU."""

from dataclasses import dataclass, replace

from convert.families.blocks.gated_decoder import GatedDecoder
from convert.families.decoder import DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class GemmaConfig(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: gemma``.

    ``hidden_act`` is not read: the first checkpoints say "gelu", but were trained with the tanh form, which
    ``hidden_activation`` was added for.
    """

    hidden_activation: str | None = None
    head_dim: int | None = 256
    max_position_embeddings: int = 8192
    attention_bias: bool = False
    tie_word_embeddings: bool = True


def describe(config: GemmaConfig) -> GatedDecoder:
    """Llama with another norm, activation and embedding."""
    return replace(
        config.describe(config.layers(config.rotary())),
        activation=config.hidden_activation or "gelu_pytorch_tanh",
        norm_offset=1.0,
        scaled_embedding=True,
        qkv_bias=config.attention_bias,
        output_bias=config.attention_bias,
    )


FAMILY = decoder_family(GemmaConfig, describe)
