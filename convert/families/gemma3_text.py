"""Builds the text decoders of Gemma 3 (Kamath et al. 2025): mostly windows, two rotary bases, QK-norm."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from convert.errors import UnsupportedModel
from convert.families import gemma2
from convert.families.blocks.gated_decoder import GatedDecoder, Layer
from convert.families.decoder import FULL, SLIDING, decoder_family


@dataclass(frozen=True, kw_only=True)
class Gemma3TextConfig(gemma2.Gemma2Config):
    """Fields of a Hugging Face ``config.json`` with ``model_type: gemma3_text``."""

    max_position_embeddings: int = 131072
    rope_theta: float = 1e6
    rope_local_base_freq: float = 1e4
    sliding_window_pattern: int = 6
    attn_logit_softcapping: float | None = None
    final_logit_softcapping: float | None = None
    use_bidirectional_attention: bool | None = False


def layers(config: Gemma3TextConfig) -> tuple[Layer, ...]:
    """Five layers with a window and a rotation of their own, then one that sees all."""
    pattern = config.sliding_window_pattern or config.num_hidden_layers + 1
    kinds = config.kinds([SLIDING if (index + 1) % pattern else FULL for index in range(config.num_hidden_layers)])
    far = {**_parameters(config, FULL), **(config.rope_scaling or {})}
    near = {"rope_theta": config.rope_local_base_freq, **_parameters(config, SLIDING)}
    seen = {
        FULL: config.layer(replace(config, rope_parameters=far).rotary()),
        SLIDING: config.layer(
            replace(replace(config, rope_parameters=near).rotary(), name="rotary_emb_local"), config.sliding_window
        ),
    }
    return tuple(seen[kind] for kind in kinds)


def _parameters(config: Gemma3TextConfig, kind: str) -> Mapping[str, Any]:
    """Those of one kind of layer, as transformers 5 writes them."""
    parameters = (config.rope_parameters or {}).get(kind)
    return parameters if isinstance(parameters, dict) else {}


def describe(config: Gemma3TextConfig) -> GatedDecoder:
    """Gemma 2 with QK-norm."""
    if config.use_bidirectional_attention:
        raise UnsupportedModel(
            "use_bidirectional_attention in config.json is true, but a decoder must not see the future; "
            "choose another model"
        )
    return replace(gemma2.describe(config, layers(config)), qk_norm=True)


FAMILY = decoder_family(Gemma3TextConfig, describe)
