"""Toy checkpoints written by the formats' own libraries."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN = 2, 64, 2, 1, 32, 96
TOKENS = ["<unk>", "<s>", "</s>", "<think>", *"abcdehlo", "Ġ", "he", "ll", "hell", "hello", "Ġhello", "1", "2"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ hello"]
TOKEN_TYPES = [3, 3, 3, 4, *[1] * (len(TOKENS) - 4)]


def toy_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of a two-layer llama under their GGUF names, float32, shapes [out, in]."""
    random = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), HIDDEN), "output_norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (HIDDEN,),
            f"blk.{layer}.attn_q.weight": (HEADS * HEAD_DIM, HIDDEN),
            f"blk.{layer}.attn_k.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            f"blk.{layer}.attn_v.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            f"blk.{layer}.attn_output.weight": (HIDDEN, HEADS * HEAD_DIM),
            f"blk.{layer}.ffn_norm.weight": (HIDDEN,),
            f"blk.{layer}.ffn_gate.weight": (FFN, HIDDEN),
            f"blk.{layer}.ffn_up.weight": (FFN, HIDDEN),
            f"blk.{layer}.ffn_down.weight": (HIDDEN, FFN),
        }
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., Path]:
    """Writes a toy llama with the gguf package: write_gguf(path, "Q4_1", change=lambda metadata, tensors: ...)."""

    def write(
        path: Path,
        matrix_type: str = "F32",
        change: Callable[[dict[str, Any], dict[str, np.ndarray]], None] = lambda metadata, tensors: None,
    ) -> Path:
        metadata: dict[str, Any] = {
            "llama.block_count": LAYERS,
            "llama.context_length": 128,
            "llama.embedding_length": HIDDEN,
            "llama.feed_forward_length": FFN,
            "llama.attention.head_count": HEADS,
            "llama.attention.head_count_kv": KV_HEADS,
            "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "llama.rope.freq_base": 10000.0,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "smollm",
            "tokenizer.ggml.tokens": TOKENS,
            "tokenizer.ggml.token_type": TOKEN_TYPES,
            "tokenizer.ggml.merges": MERGES,
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.chat_template": "{{ messages }}",
        }
        tensors = toy_tensors()
        change(metadata, tensors)
        writer = gguf.GGUFWriter(path, metadata.pop("general.architecture", "llama"))
        for key, value in metadata.items():
            _add(writer, key, value)
        for name, tensor in tensors.items():
            kind = gguf.GGMLQuantizationType[matrix_type if tensor.ndim > 1 else "F32"]
            writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    add.get(type(value), writer.add_array)(key, value)


@pytest.fixture(scope="session")
def write_safetensors() -> Callable[..., Path]:
    """Writes any header before any data: write_safetensors(path, header object or bytes, data)."""

    def write(path: Path, header: dict[str, Any] | bytes, data: bytes, claimed_length: int | None = None) -> Path:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        length = len(raw) if claimed_length is None else claimed_length
        path.write_bytes(length.to_bytes(8, "little") + raw + data)
        return path

    return write
