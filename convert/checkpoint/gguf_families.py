"""Owns how a GGUF architecture becomes a Hugging Face one (names, row order, configuration): one row per family."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from convert.checkpoint.gguf import GgufFile
from convert.checkpoint.gguf_metadata import Metadata
from convert.checkpoint.tensor import LazyTensor, permute_rows
from convert.checkpoint.untrusted import quote
from convert.errors import BadCheckpoint, UnsupportedModel

_ROPE_FACTORS = "rope_freqs.weight"
_LAYER_NAME = re.compile(r"blk\.(0|[1-9][0-9]{0,5})\.(\w+)\.(weight|bias)")


@dataclass(frozen=True)
class GgufFamily:
    """How one architecture is renamed; HF names are those of the safetensors checkpoints."""

    names: Mapping[str, str]
    """Tensors outside the layers."""
    optional: frozenset[str]
    """Of ``names``, those that may be missing."""
    layer_names: Mapping[str, str]
    """Modules of layer i: ``blk.i.KEY.weight`` is ``model.layers.i.VALUE.weight`` and must be there, a bias may."""
    permuted: Mapping[str, str]
    """Modules whose rows llama.cpp reordered for its rotary embedding, and the config key of their head count."""
    config: Callable[[GgufFile], dict[str, Any]]


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
    path, layers = gguf.metadata.path, config["num_hidden_layers"]
    if layers * len(family.layer_names) > len(gguf.tensors):
        raise BadCheckpoint(
            f"{path}: has {len(gguf.tensors)} tensors, too few for {layers} layers; "
            "the file is incomplete, so fetch it again"
        )
    required = [name for name in family.names if name not in family.optional]
    required += [f"blk.{layer}.{module}.weight" for layer in range(layers) for module in family.layer_names]
    missing = [name for name in required if name not in gguf.tensors]
    if missing:
        raise BadCheckpoint(
            f"{path}: the tensor {quote(missing[0])} is missing ({len(missing)} in all); "
            "the file is incomplete, so fetch it again"
        )
    renamed: dict[str, LazyTensor] = {}
    for name, tensor in gguf.tensors.items():
        if name == _ROPE_FACTORS:
            continue
        match = _LAYER_NAME.fullmatch(name)
        if name in family.names:
            hf_name = family.names[name]
        elif match and match[2] in family.layer_names and int(match[1]) < layers:
            hf_name = f"model.layers.{match[1]}.{family.layer_names[match[2]]}.{match[3]}"
            if match[2] in family.permuted:
                tensor = _unpermuted(path, tensor, config[family.permuted[match[2]]], config["head_dim"])
        else:
            raise UnsupportedModel(
                f"{path}: the tensor {quote(name)} has no place in the architecture; "
                "convert the safetensors checkpoint of the model"
            )
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


def _llama_config(gguf: GgufFile) -> dict[str, Any]:
    metadata, tensors = gguf.metadata, gguf.tensors
    if "llama.expert_count" in metadata and metadata.integer("llama.expert_count"):
        raise UnsupportedModel(f"{metadata.path}: is a mixture of experts; expected a dense model, so choose another")
    if "token_embd.weight" not in tensors:
        raise BadCheckpoint(f"{metadata.path}: the tensor 'token_embd.weight' is missing; fetch the file again")
    vocab_size, hidden_size = (*tensors["token_embd.weight"].shape, 0)[:2]
    heads = metadata.integer("llama.attention.head_count", least=1)
    if hidden_size != metadata.integer("llama.embedding_length", least=1) or hidden_size % heads:
        raise BadCheckpoint(
            f"{metadata.path}: 'token_embd.weight' has rows of {hidden_size}, expected llama.embedding_length, "
            f"a multiple of {heads} heads; fetch the file again"
        )
    head_dim = metadata.integer("llama.attention.key_length", default=hidden_size // heads, least=2)
    for key in ("llama.attention.value_length", "llama.rope.dimension_count"):
        if metadata.integer(key, default=head_dim) != head_dim:
            raise UnsupportedModel(
                f"{metadata.path}: {key} differs from the head size {head_dim}, expected them equal; "
                "choose another model"
            )
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": any(name.endswith("attn_q.bias") for name in tensors),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "hidden_size": hidden_size,
        "intermediate_size": metadata.integer("llama.feed_forward_length", least=1),
        "max_position_embeddings": metadata.integer("llama.context_length", least=1),
        "mlp_bias": any(name.endswith("ffn_gate.bias") for name in tensors),
        "num_attention_heads": heads,
        "num_hidden_layers": metadata.integer("llama.block_count", least=1),
        "num_key_value_heads": metadata.integer("llama.attention.head_count_kv", default=heads, least=1),
        "rms_norm_eps": metadata.number("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": metadata.number("llama.rope.freq_base", default=10000.0),
        "tie_word_embeddings": "output.weight" not in tensors,
        "vocab_size": vocab_size,
    }
    rope_scaling = _rope_scaling(gguf, head_dim, config["rope_theta"])
    return config | ({"rope_scaling": rope_scaling} if rope_scaling else {})


def _rope_scaling(gguf: GgufFile, head_dim: int, theta: float) -> dict[str, Any] | None:
    """The rope_scaling of config.json, or None."""
    metadata = gguf.metadata
    kind = metadata.text("llama.rope.scaling.type", default="none")
    if _ROPE_FACTORS in gguf.tensors:
        return _llama3_scaling(metadata, gguf.tensors[_ROPE_FACTORS], head_dim, theta)
    if kind == "linear":
        return {"rope_type": "linear", "factor": metadata.number("llama.rope.scaling.factor")}
    if kind != "none":
        raise UnsupportedModel(f"{metadata.path}: scales its rope by {quote(kind)}, expected none, linear or llama3")
    return None


def _llama3_scaling(metadata: Metadata, factors: LazyTensor, head_dim: int, theta: float) -> dict[str, Any]:
    """Parameters that reproduce the stored divisors of the rope frequencies (Llama 3.1 and later).

    GGUF keeps only the divisors, [head_dim / 2]; the released models all have these three constants.
    Source: the llama3 entry of modeling_rope_utils.py in transformers.
    """
    original_length, low, high = 8192, 1.0, 4.0
    stored = factors.read().reshape(-1)
    factor = float(np.max(stored, initial=1.0))
    frequencies = theta ** (-2 * np.arange(stored.size) / head_dim)
    smooth = np.clip((original_length * frequencies / (2 * math.pi) - low) / (high - low), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if stored.size != head_dim // 2 or not np.allclose(stored, expected, rtol=1e-4):
        raise UnsupportedModel(
            f"{metadata.path}: the rope factors in {quote(factors.name)} are not those of Llama 3; "
            "convert the safetensors checkpoint of the model"
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original_length,
    }


FAMILIES: Mapping[str, GgufFamily] = {
    "llama": GgufFamily(
        names={
            "token_embd.weight": "model.embed_tokens.weight",
            "output_norm.weight": "model.norm.weight",
            "output.weight": "lm_head.weight",
        },
        optional=frozenset({"output.weight"}),
        layer_names={
            "attn_norm": "input_layernorm",
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_norm": "post_attention_layernorm",
            "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj",
        },
        permuted={"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"},
        config=_llama_config,
    )
}
"""By ``general.architecture``."""
