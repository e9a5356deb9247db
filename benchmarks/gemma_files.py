"""Owns the files of Gemma 2B's true shape with random weights: our directories, and a GGUF file in parts."""

import json
from collections.abc import Callable
from math import prod
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from benchmarks.model_files import MODELS, PLAIN, WORK, convert, once
from tests.true_shapes import GEMMA_2B, gemma_shapes, write_gemma

GEMMA, GEMMA_SMALLER = "gemma-2b", "gemma-2b-embedding-4bit"
OPTIONS = {GEMMA: (), GEMMA_SMALLER: ("--embedding-bits", "4")}
"""How each of our directories is converted."""
CHECKPOINT = WORK / "checkpoints" / GEMMA
GGUF_FOLDER = PLAIN / "gguf" / GEMMA
PART_BYTES = 500_000_000
"""wllama takes a file into one ArrayBuffer, which has to stay far below 2 GB."""
Q4, Q6 = gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q6_K
SPREADS = {Q4: 4.6, Q6: 18.5 * 32}
"""Standard deviation of random codes, with the scales of Q6_K's sub-blocks as they are drawn here."""
NORMAL_TOKEN, CONTROL_TOKEN = 1, 3
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.down_proj": "ffn_down",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "self_attn.k_proj": "attn_k",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_proj": "attn_q",
    "self_attn.v_proj": "attn_v",
}


def prepare(say: Callable[[str], None]) -> None:
    """Make whatever is missing: 4.7 GB stay, 5 GB more are needed until the checkpoint is converted."""
    for name, options in OPTIONS.items():
        once(MODELS / name, say, lambda target, options=options: _converted(target, options))
    once(GGUF_FOLDER, say, _gguf)
    _forget_checkpoint()


def prepare_model(name: str, say: Callable[[str], None]) -> None:
    """One of the two directories, for our own engine alone."""
    once(MODELS / name, say, lambda target: _converted(target, OPTIONS[name]))
    _forget_checkpoint()


def gguf_parts() -> list[str]:
    """The parts below the folder of GGUF files, in order, without their suffix."""
    return [f"{GEMMA}/{file.stem}" for file in sorted(GGUF_FOLDER.glob("*.gguf"))]


def _forget_checkpoint() -> None:
    for file in CHECKPOINT.glob("*.safetensors"):
        file.unlink()


def _converted(target: Path, options: tuple[str, ...]) -> None:
    if not any(CHECKPOINT.glob("*.safetensors")):
        write_gemma(CHECKPOINT)
    convert(CHECKPOINT, target, "q4", more=options)


def _gguf(target: Path) -> None:
    """Q4_0 with a Q6_K embedding, which is how llama.cpp's quantizer writes a tied model; the blocks are random."""
    target.mkdir()
    writer = gguf.GGUFWriter(target / "q4_0.gguf", "gemma", split_max_size=PART_BYTES)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_context_length(GEMMA_2B["max_position_embeddings"])
    writer.add_embedding_length(GEMMA_2B["hidden_size"])
    writer.add_feed_forward_length(GEMMA_2B["intermediate_size"])
    writer.add_block_count(GEMMA_2B["num_hidden_layers"])
    writer.add_head_count(GEMMA_2B["num_attention_heads"])
    writer.add_head_count_kv(GEMMA_2B["num_key_value_heads"])
    writer.add_key_length(GEMMA_2B["head_dim"])
    writer.add_value_length(GEMMA_2B["head_dim"])
    writer.add_layer_norm_rms_eps(GEMMA_2B["rms_norm_eps"])
    _add_tokenizer(writer)
    random = np.random.default_rng(0)
    for name, shape in gemma_shapes(GEMMA_2B).items():
        if len(shape) == 1:
            writer.add_tensor(_gguf_name(name), np.ones(shape, np.float32))
        else:
            kind = Q6 if "embed" in name else Q4
            writer.add_tensor(_gguf_name(name), _blocks(random, shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    """The tokenizer of our directory, so that every runtime reads the same ids."""
    tokenizer = json.loads((MODELS / GEMMA / "tokenizer.json").read_text())
    special = {token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([CONTROL_TOKEN if index in special else NORMAL_TOKEN for _, index in tokens])
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    )
    writer.add_bos_token_id(GEMMA_2B["bos_token_id"])
    writer.add_eos_token_id(GEMMA_2B["eos_token_id"])
    writer.add_add_bos_token(False)


def _gguf_name(name: str) -> str:
    """llama.cpp's name of a tensor of the checkpoint."""
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    layer, tensor = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{layer}.{LAYER_TENSORS[tensor]}.weight"


def _blocks(random: np.random.Generator, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> NDArray[np.uint8]:
    """Random codes with scales that give a variance of 1 / fan-in."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (prod(shape) // elements, size), dtype=np.uint8)
    scale = np.float16(shape[-1] ** -0.5 / SPREADS[kind])
    if kind == Q4:
        blocks[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
    else:
        blocks[:, 192:208] = 32
        blocks[:, 208:] = np.frombuffer(scale.tobytes(), np.uint8)
    return blocks.reshape(shape[0], -1)
