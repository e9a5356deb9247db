"""Tiny random checkpoints with every size distinct, saved as a Hugging Face directory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 80,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 301,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
}
DISTILBERT = {
    "model_type": "distilbert",
    "architectures": ["DistilBertModel"],
    "dim": 96,
    "hidden_dim": 160,
    "n_layers": 3,
    "n_heads": 6,
    "vocab_size": 301,
    "max_position_embeddings": 72,
    "activation": "gelu",
}


def llama_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, pairs = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        shapes |= {
            f"{name}.input_layernorm.weight": (hidden,),
            f"{name}.self_attn.q_proj.weight": (queries, hidden),
            f"{name}.self_attn.k_proj.weight": (pairs, hidden),
            f"{name}.self_attn.v_proj.weight": (pairs, hidden),
            f"{name}.self_attn.o_proj.weight": (hidden, queries),
            f"{name}.post_attention_layernorm.weight": (hidden,),
            f"{name}.mlp.gate_proj.weight": (inner, hidden),
            f"{name}.mlp.up_proj.weight": (inner, hidden),
            f"{name}.mlp.down_proj.weight": (hidden, inner),
        }
    shapes["model.norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def distilbert_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    dim, inner = config["dim"], config["hidden_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], dim),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], dim),
        "embeddings.LayerNorm.weight": (dim,),
        "embeddings.LayerNorm.bias": (dim,),
    }
    for layer in range(config["n_layers"]):
        name = f"transformer.layer.{layer}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            shapes |= {f"{name}.attention.{part}.weight": (dim, dim), f"{name}.attention.{part}.bias": (dim,)}
        shapes |= {f"{name}.ffn.lin1.weight": (inner, dim), f"{name}.ffn.lin1.bias": (inner,)}
        shapes |= {f"{name}.ffn.lin2.weight": (dim, inner), f"{name}.ffn.lin2.bias": (dim,)}
        for part in ("sa_layer_norm", "output_layer_norm"):
            shapes |= {f"{name}.{part}.weight": (dim,), f"{name}.{part}.bias": (dim,)}
    return shapes


def random_weights(
    shapes: dict[str, tuple[int, ...]], seed: int = 7, gain: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Norms near 1, small biases, embeddings of 1, and matrices that change a vector's length by ``gain``."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        is_norm = "norm" in name.lower() or ".ln_" in name
        centre = 1.0 if is_norm and name.endswith("weight") else 0.0
        spread = 0.1 if len(shape) == 1 else 1.0 if "embed" in name or "shared" in name else gain * shape[-1] ** -0.5
        weights[name] = centre + values * np.float32(spread)
    return weights


def save_checkpoint(directory: Path, config: dict[str, Any], weights: dict[str, NDArray[Any]]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_text("{}")
    save_file(weights, directory / "model.safetensors")
    return directory
