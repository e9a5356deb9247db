"""Builds Phi-3 and Phi-4-mini decoders (Abdin et al. 2024): Llama with fused projections and partial rotation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from convert.checkpoint.tensor import LazyTensor, slice_rows
from convert.errors import BadCheckpoint
from convert.families.blocks.gated_decoder import GatedDecoder
from convert.families.blocks.rotary import rope_number
from convert.families.decoder import DecoderConfig, decoder_family


@dataclass(frozen=True, kw_only=True)
class Phi3Config(DecoderConfig):
    """Fields of a Hugging Face ``config.json`` with ``model_type: phi3``."""

    max_position_embeddings: int = 4096
    original_max_position_embeddings: int = 4096
    partial_rotary_factor: float = 1.0
    rms_norm_eps: float = 1e-5
    sliding_window: int | None = None


def describe(config: Phi3Config) -> GatedDecoder:
    """Llama; a model with scaled positions (LongRoPE) keeps to the context that it was trained with first.

    Beyond that context all positions would be rotated by other frequencies, those in the cache included.
    """
    rotary = config.rotary()
    fraction = rope_number(rotary.scaling, "partial_rotary_factor", config.partial_rotary_factor)
    rotary = config.rotary(fraction=fraction)
    if rotary.kind == "default":
        return config.describe(config.layers(rotary, config.sliding_window))
    trained = rope_number(rotary.scaling, "original_max_position_embeddings", config.original_max_position_embeddings)
    length = max(2, min(int(trained), config.max_position_embeddings))
    usual = math.sqrt(1 + math.log(max(1.0, config.max_position_embeddings / length)) / math.log(length))
    magnitude = rope_number(rotary.scaling, "attention_factor", usual)
    short = replace(config, max_position_embeddings=length)
    rotary = replace(rotary, positions=length, magnitude=magnitude)
    return short.describe(short.layers(rotary, config.sliding_window))


def unfused(config: Phi3Config, tensors: Mapping[str, LazyTensor]) -> Mapping[str, LazyTensor]:
    """Queries, keys and values, and gate and up projection, each as a tensor of its own."""
    heads = config.heads()
    widths = {"q_proj": heads.queries * heads.size} | dict.fromkeys(("k_proj", "v_proj"), heads.pairs * heads.size)
    fused = {
        "self_attn.qkv_proj": widths,
        "mlp.gate_up_proj": dict.fromkeys(("gate_proj", "up_proj"), config.intermediate_size),
    }
    split: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        module = next((module for module in fused if name.endswith(f".{module}.weight")), None)
        split |= {name: tensor} if module is None else _rows(tensor, module, fused[module])
    return split


def _rows(tensor: LazyTensor, module: str, widths: Mapping[str, int]) -> dict[str, LazyTensor]:
    if tensor.rows != sum(widths.values()):
        raise BadCheckpoint(
            f"tensor {tensor.name} has {tensor.rows} rows, but config.json implies {sum(widths.values())}; "
            "check that config.json belongs to the checkpoint"
        )
    parts, start = {}, 0
    for part, width in widths.items():
        name = tensor.name.replace(module, f"{module.split('.')[0]}.{part}")
        parts[name] = slice_rows(tensor, start, start + width).renamed(name)
        start += width
    return parts


FAMILY = decoder_family(Phi3Config, describe, unfused)
