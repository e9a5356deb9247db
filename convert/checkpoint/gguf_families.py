"""Owns how a GGUF architecture becomes a Hugging Face one: tensor names, row order and norms, one row per family."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from convert.checkpoint import gguf_configs
from convert.checkpoint.gguf import GgufFile
from convert.checkpoint.tensor import LazyTensor, permute_rows, shift
from convert.checkpoint.untrusted import quote
from convert.errors import BadCheckpoint, UnsupportedModel

_LAYER_NAME = re.compile(r"blk\.(0|[1-9][0-9]{0,5})\.(\w+)\.(weight|bias)")

_HEAD = "output"
"""The one module that may be missing: the embedding table is the head then."""
_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", _HEAD: "lm_head"}


@dataclass(frozen=True)
class GgufFamily:
    """How one architecture is renamed; HF names are those of the safetensors checkpoints."""

    config: Callable[[GgufFile], dict[str, Any]]
    layer_names: Mapping[str, str]
    """Modules of layer i: ``blk.i.KEY.weight`` is ``LAYERS.i.VALUE.weight`` and must be there, a bias may."""
    names: Mapping[str, str] = field(default_factory=lambda: _NAMES)
    """Modules outside the layers."""
    layers: str = "model.layers"
    permuted: Mapping[str, str] = field(default_factory=dict)
    """Modules whose rows llama.cpp reordered for its rotary embedding, and the config key of their head count."""
    norm_offset: float = 0.0
    """What llama.cpp adds to the weights of norms, and we take off again."""


def hugging_face_view(gguf: GgufFile) -> tuple[dict[str, Any], dict[str, LazyTensor]]:
    """Content of config.json, and the tensors under their Hugging Face names, in the order of the file.

    Raises:
        UnsupportedModel: the architecture, or something that the file asks of it, is not supported.
        BadCheckpoint: metadata or tensors are missing or contradict each other.
    """
    architecture = gguf.metadata.text("general.architecture")
    if architecture not in FAMILIES:
        raise UnsupportedModel(
            f"{gguf.metadata.path}: has the architecture {quote(architecture)}, expected {' or '.join(FAMILIES)}; "
            "convert the safetensors checkpoint of the model if its family is supported there"
        )
    family = FAMILIES[architecture]
    config = family.config(gguf)
    tensors = _rename(gguf, family, config)
    return config, tensors


def _rename(gguf: GgufFile, family: GgufFamily, config: Mapping[str, Any]) -> dict[str, LazyTensor]:
    path, layers = gguf.metadata.path, gguf_configs.layer_count(gguf)
    if layers * len(family.layer_names) > len(gguf.tensors):
        raise BadCheckpoint(
            f"{path}: has {len(gguf.tensors)} tensors, too few for {layers} layers; "
            "the file is incomplete, so fetch it again"
        )
    required = [f"{module}.weight" for module in family.names if module != _HEAD]
    required += [f"blk.{layer}.{module}.weight" for layer in range(layers) for module in family.layer_names]
    missing = [name for name in required if name not in gguf.tensors]
    if missing:
        raise BadCheckpoint(
            f"{path}: the tensor {quote(missing[0])} is missing ({len(missing)} in all); "
            "the file is incomplete, so fetch it again"
        )
    renamed: dict[str, LazyTensor] = {}
    for name, tensor in gguf.tensors.items():
        if name in gguf_configs.ROPE_TENSORS:
            continue
        module, _, kind = name.rpartition(".")
        match = _LAYER_NAME.fullmatch(name)
        if module in family.names and kind in ("weight", "bias"):
            hf_name = f"{family.names[module]}.{kind}"
        elif match and match[2] in family.layer_names and int(match[1]) < layers:
            hf_name = f"{family.layers}.{match[1]}.{family.layer_names[match[2]]}.{match[3]}"
            if match[2] in family.permuted:
                tensor = _unpermuted(path, tensor, config[family.permuted[match[2]]], config["head_dim"])
        else:
            raise UnsupportedModel(
                f"{path}: the tensor {quote(name)} has no place in the architecture; "
                "convert the safetensors checkpoint of the model"
            )
        if family.norm_offset and hf_name.endswith("norm.weight"):
            tensor = shift(tensor, -family.norm_offset)
        renamed[hf_name] = tensor.renamed(hf_name)
    return renamed


def _unpermuted(path: object, tensor: LazyTensor, heads: int, head_dim: int) -> LazyTensor:
    """``tensor`` with the rows of each head in Hugging Face order: first halves of the rotated pairs, then second ones.

    Source: LlamaModel.permute in convert_hf_to_gguf.py of llama.cpp; this is its inverse.
    """
    if tensor.rows != heads * head_dim or head_dim % 2:
        raise BadCheckpoint(
            f"{path}: the tensor {quote(tensor.name)} has {tensor.rows} rows, expected {heads} heads of an even "
            f"{head_dim}; the file is damaged, so fetch it again"
        )
    order = np.arange(tensor.rows).reshape(heads, head_dim // 2, 2).swapaxes(1, 2).reshape(-1)
    return permute_rows(tensor, order)


_LLAMA_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_PERMUTED = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
_QK_NORM = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_SANDWICH_LAYER = _LLAMA_LAYER | {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}

FAMILIES: Mapping[str, GgufFamily] = {
    "llama": GgufFamily(gguf_configs.llama, _LLAMA_LAYER, permuted=_PERMUTED),
    "smollm3": GgufFamily(gguf_configs.smollm3, _LLAMA_LAYER, permuted=_PERMUTED),
    "qwen2": GgufFamily(gguf_configs.qwen2, _LLAMA_LAYER),
    "qwen3": GgufFamily(gguf_configs.qwen3, _LLAMA_LAYER | _QK_NORM),
    "gemma": GgufFamily(gguf_configs.gemma, _LLAMA_LAYER, norm_offset=1.0),
    "gemma2": GgufFamily(gguf_configs.gemma2, _SANDWICH_LAYER, norm_offset=1.0),
    "gemma3": GgufFamily(gguf_configs.gemma3, _SANDWICH_LAYER | _QK_NORM, norm_offset=1.0),
    "phi3": GgufFamily(
        gguf_configs.phi3,
        {
            "attn_norm": "input_layernorm",
            "attn_qkv": "self_attn.qkv_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_norm": "post_attention_layernorm",
            "ffn_up": "mlp.gate_up_proj",
            "ffn_down": "mlp.down_proj",
        },
    ),
    "gpt2": GgufFamily(
        gguf_configs.gpt2,
        {
            "attn_norm": "ln_1",
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_norm": "ln_2",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        names={"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f", _HEAD: "lm_head"},
        layers="h",
    ),
}
"""By ``general.architecture``."""
