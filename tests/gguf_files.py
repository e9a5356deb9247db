"""Writes Hugging Face checkpoints as GGUF files the way llama.cpp does, with the gguf package."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

Weights = dict[str, np.ndarray]
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "smollm3": gguf.MODEL_ARCH.SMOLLM3,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gemma": gguf.MODEL_ARCH.GEMMA,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "phi3": gguf.MODEL_ARCH.PHI3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}
"""By model_type."""
PERMUTED = ("llama", "mistral", "smollm3")
CONV1D = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")


def write_gguf(path: Path, config: dict[str, Any], weights: Weights, matrix_type: str = "F32") -> Path:
    """One file with the weights, the metadata and a byte-level tokenizer; matrices in ``matrix_type``."""
    architecture = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    names = gguf.get_tensor_name_map(architecture, layers)
    _add_metadata(writer, config)
    _add_tokenizer(writer, config["vocab_size"])
    for hf_name, weight in weights.items():
        name = names.get_name(hf_name, try_suffixes=(".weight", ".bias"))
        assert name, hf_name
        _add_tensor(writer, name, _as_llama_cpp_stores(config, hf_name, weight), matrix_type)
    for name, factors in _rope_tensors(config).items():
        _add_tensor(writer, name, factors, "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


SCALES = {
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
"""Where the block types that the gguf package cannot write hold their float16 scales."""


def random_blocks(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any codes, with scales that give weights as models have them: rows of bytes."""
    length, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = (*shape[:-1], shape[-1] // length, block_bytes)
    raw = np.random.default_rng(seed).integers(0, 256, blocks, np.uint8)
    for at in SCALES[name]:
        raw[..., at : at + 2] = np.frombuffer(np.float16(0.1 / shape[-1]).tobytes(), np.uint8)
    return raw.reshape(*shape[:-1], -1)


def _add_tensor(writer: gguf.GGUFWriter, name: str, weight: np.ndarray, matrix_type: str) -> None:
    kind = gguf.GGMLQuantizationType[matrix_type if weight.ndim > 1 else "F32"]
    if weight.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = gguf.GGMLQuantizationType.F32
    if kind.name in SCALES:
        content = random_blocks(kind.name, weight.shape, seed=len(writer.tensors[0]))
    else:
        content = gguf.quantize(np.ascontiguousarray(weight, np.float32), kind)
    writer.add_tensor(name, content, raw_dtype=kind)


def _as_llama_cpp_stores(config: dict[str, Any], name: str, weight: np.ndarray) -> np.ndarray:
    kind = config["model_type"]
    if kind.startswith("gemma") and name.endswith("norm.weight"):
        return weight + 1
    if kind == "gpt2" and name.endswith(CONV1D):
        return weight.T
    for module, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
        if kind in PERMUTED and f".{module}." in name:
            halves = weight.reshape(config[heads], 2, -1, *weight.shape[1:])
            return halves.swapaxes(1, 2).reshape(weight.shape)
    return weight


def _add_metadata(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    if config["model_type"] == "gpt2":
        writer.add_block_count(config["n_layer"])
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(config["n_inner"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
        return
    scaling = config.get("rope_scaling") or {}
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "rope_theta" in config:
        writer.add_rope_freq_base(config["rope_theta"])
    if scaling.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    kind = config["model_type"]
    if kind == "phi3":
        length = config.get("original_max_position_embeddings", config["max_position_embeddings"])
        writer.add_rope_dimension_count(int(config.get("partial_rotary_factor", 1.0) * config["head_dim"]))
        writer.add_rope_scaling_orig_ctx_len(length)
        writer.add_sliding_window(config.get("sliding_window") or 0)
        if "short_factor" in scaling:
            growth = np.log(config["max_position_embeddings"] / length) / np.log(length)
            writer.add_rope_scaling_attn_factors(float(np.sqrt(1 + growth)))
    if kind in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(config["sliding_window"])
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if kind == "gemma3_text":
        writer.add_sliding_window_pattern(config["sliding_window_pattern"])
        writer.add_float32("gemma3.rope.freq_base_swa", config["rope_local_base_freq"])


def _rope_tensors(config: dict[str, Any]) -> Weights:
    scaling = config.get("rope_scaling") or {}
    if "short_factor" in scaling:
        return {
            f"rope_factors_{kind}.weight": np.array(scaling[f"{kind}_factor"], np.float32) for kind in ("long", "short")
        }
    if scaling.get("rope_type") != "llama3":
        return {}
    length = scaling["original_max_position_embeddings"]
    low, high, factor = (scaling[key] for key in ("low_freq_factor", "high_freq_factor", "factor"))
    divisors = []
    for index in range(0, config["head_dim"], 2):
        wavelength = 2 * np.pi * config.get("rope_theta", 10000.0) ** (index / config["head_dim"])
        smooth = np.clip((length / wavelength - low) / (high - low), 0, 1)
        divisors.append(1 / ((1 - smooth) / factor + smooth))
    return {"rope_freqs.weight": np.array(divisors, np.float32)}


def _add_tokenizer(writer: gguf.GGUFWriter, vocab_size: int) -> None:
    special = ["<unk>", "<s>", "</s>"]
    letters = sorted(ByteLevel.alphabet())
    merges = [f"Ġ {letter}" for letter in letters if letter.isascii()][: vocab_size - len(special) - len(letters)]
    tokens = [*special, *letters, *(merge.replace(" ", "") for merge in merges)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(special) + [1] * (len(tokens) - len(special)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
