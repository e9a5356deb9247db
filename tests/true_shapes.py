"""Writes checkpoints of real models' shapes with random weights, streamed to disk, with tokenizers that work.

python -m tests.true_shapes gemma-2b DIRECTORY
python -m tests.true_shapes distilbert-sst2 DIRECTORY
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from math import prod
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

SHARD_BYTES = 1 << 30
_POOL_ELEMENTS = 1 << 22
"""Normal numbers are drawn once; every piece of a tensor begins somewhere else among them."""

GEMMA_2B: dict[str, Any] = {
    "architectures": ["GemmaForCausalLM"],
    "model_type": "gemma",
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 256000,
    "max_position_embeddings": 8192,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_act": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 2,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
DISTILBERT_SST2: dict[str, Any] = {
    "architectures": ["DistilBertForSequenceClassification"],
    "model_type": "distilbert",
    "dim": 768,
    "hidden_dim": 3072,
    "n_layers": 6,
    "n_heads": 12,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "activation": "gelu",
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
    "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    "pad_token_id": 0,
}

Shapes = dict[str, tuple[int, ...]]


def gemma_shapes(config: dict[str, Any]) -> Shapes:
    """Tensors of a Gemma checkpoint, the head tied."""
    hidden, inner, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, pairs = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes: Shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        shapes |= {
            f"{name}.input_layernorm.weight": (hidden,),
            f"{name}.mlp.down_proj.weight": (hidden, inner),
            f"{name}.mlp.gate_proj.weight": (inner, hidden),
            f"{name}.mlp.up_proj.weight": (inner, hidden),
            f"{name}.post_attention_layernorm.weight": (hidden,),
            f"{name}.self_attn.k_proj.weight": (pairs, hidden),
            f"{name}.self_attn.o_proj.weight": (hidden, queries),
            f"{name}.self_attn.q_proj.weight": (queries, hidden),
            f"{name}.self_attn.v_proj.weight": (pairs, hidden),
        }
    return shapes | {"model.norm.weight": (hidden,)}


def distilbert_shapes(config: dict[str, Any]) -> Shapes:
    """Tensors of a DistilBERT checkpoint with a classifier of two labels."""
    dim, inner, labels = config["dim"], config["hidden_dim"], len(config["id2label"])
    linears = {"pre_classifier": (dim, dim), "classifier": (labels, dim)}
    norms = ["distilbert.embeddings.LayerNorm"]
    for layer in range(config["n_layers"]):
        name = f"distilbert.transformer.layer.{layer}"
        linears |= {f"{name}.attention.{part}_lin": (dim, dim) for part in ("q", "k", "v", "out")}
        linears |= {f"{name}.ffn.lin1": (inner, dim), f"{name}.ffn.lin2": (dim, inner)}
        norms += [f"{name}.sa_layer_norm", f"{name}.output_layer_norm"]
    shapes: Shapes = {
        "distilbert.embeddings.word_embeddings.weight": (config["vocab_size"], dim),
        "distilbert.embeddings.position_embeddings.weight": (config["max_position_embeddings"], dim),
    }
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    return shapes


def _words(count: int, first: str, later: str) -> Iterator[tuple[str, str]]:
    """``count`` words as (beginning, last letter): those of two letters, then of three, and so on."""
    letters = [first + letter for letter in ascii_lowercase] if first else list(ascii_lowercase)

    def grow(words: list[str]) -> Iterator[tuple[str, str]]:
        longer = [(word, later + letter) for word in words for letter in ascii_lowercase]
        yield from longer
        yield from grow([word + letter.removeprefix(later) for word, letter in longer])

    return islice(grow(letters), count)


def byte_pair_tokenizer(vocab_size: int, special: tuple[str, ...]) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE whose words are all letter sequences, the first after the special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {token: index for index, token in enumerate((*special, *sorted(ByteLevel.alphabet())))}
    pairs = [("Ġ", letter) for letter in ascii_lowercase]
    words = _words(vocab_size - len(vocab) - len(pairs), "Ġ", "")
    merges = [*pairs, *words]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    assert len(vocab) == vocab_size
    begin = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    return {
        "version": "1.0",
        "added_tokens": [_added(index, token) for index, token in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [special.index("<bos>")], "tokens": ["<bos>"]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "byte_fallback": False, "vocab": vocab, "merges": merges},
    }


def word_piece_tokenizer(vocab_size: int) -> dict[str, Any]:
    """tokenizer.json of a WordPiece vocabulary of letter sequences, in the frame of BERT."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocab = {
        token: index for index, token in enumerate((*special, *ascii_lowercase, *(f"##{c}" for c in ascii_lowercase)))
    }
    for left, right in _words(vocab_size - len(vocab), "", ""):
        vocab[left + right] = len(vocab)
    return {
        "version": "1.0",
        "added_tokens": [_added(index, token) for index, token in enumerate(special)],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


def _added(index: int, token: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": token, **flags}


def write_gemma(directory: Path, config: dict[str, Any] | None = None) -> None:
    """A Gemma checkpoint in bfloat16, by default of the 2B model's size (5.0 GB)."""
    config = config or GEMMA_2B
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
    roles = {f"{role}_token": f"<{role}>" for role in ("pad", "eos", "bos", "unk")}
    template = (
        "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
        "{{ message['content'] }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
    )
    files = {
        "tokenizer.json": byte_pair_tokenizer(config["vocab_size"], special),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template, **roles},
        "generation_config.json": {"bos_token_id": 2, "eos_token_id": [1, 5], "pad_token_id": 0},
    }
    _write(directory, config, gemma_shapes(config), np.dtype(ml_dtypes.bfloat16), files)


def write_distilbert(directory: Path, config: dict[str, Any] | None = None) -> None:
    """A DistilBERT sentiment classifier in float32, by default of the base model's size (268 MB)."""
    config = config or DISTILBERT_SST2
    files = {
        "tokenizer.json": word_piece_tokenizer(config["vocab_size"]),
        "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer", "model_max_length": 512},
    }
    _write(directory, config, distilbert_shapes(config), np.dtype(np.float32), files)


def _write(
    directory: Path, config: dict[str, Any], shapes: Shapes, dtype: np.dtype[Any], files: dict[str, dict[str, Any]]
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {"config.json": config, **files}.items():
        (directory / name).write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    shards: list[Shapes] = [{}]
    for name, shape in shapes.items():
        held = sum(prod(other) for other in shards[-1].values())
        if shards[-1] and (held + prod(shape)) * dtype.itemsize > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = shape
    random = np.random.default_rng(0)
    pool = random.standard_normal(_POOL_ELEMENTS, np.float32)
    weight_map = {}
    for index, shard in enumerate(shards):
        count = f"-{index + 1:05}-of-{len(shards):05}" if len(shards) > 1 else ""
        file_name = f"model{count}.safetensors"
        _write_shard(directory / file_name, shard, dtype, pool, random)
        weight_map |= dict.fromkeys(shard, file_name)
    if len(shards) > 1:
        total = sum(prod(shape) for shape in shapes.values()) * dtype.itemsize
        index_content = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index_content))


def _write_shard(
    path: Path, shapes: Shapes, dtype: np.dtype[Any], pool: NDArray[np.float32], random: np.random.Generator
) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": "BF16" if dtype.itemsize == 2 else "F32", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name, shape in shapes.items():
            # Variance 1 / fan-in for matrices, which keeps activations near 1; norms near 1 as the family writes them.
            is_norm = "norm" in name.lower() and name.endswith("weight")
            centre = 1.0 if is_norm and dtype.itemsize == 4 else 0.0
            spread = 0.05 if len(shape) == 1 else shape[-1] ** -0.5
            values = (centre + pool * np.float32(spread)).astype(dtype)
            for start in range(0, prod(shape), _POOL_ELEMENTS // 2):
                size = min(_POOL_ELEMENTS // 2, prod(shape) - start)
                first = int(random.integers(0, _POOL_ELEMENTS - size + 1))
                file.write(values[first : first + size].tobytes())


CHECKPOINTS = {"gemma-2b": write_gemma, "distilbert-sst2": write_distilbert}


def main() -> None:
    """Write one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=CHECKPOINTS)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    CHECKPOINTS[options.name](options.directory)


if __name__ == "__main__":
    main()
