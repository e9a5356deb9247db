"""Owns the view of a BERT encoder as the DistilBERT that computes the same for one text; only one sum is computed.

BERT adds ``token_type_embeddings[0]`` to every token. DistilBERT has none: the row goes into the positions.
"""

import json
import re
from dataclasses import replace
from typing import Any

from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.tensor import LazyTensor, add, slice_rows
from convert.checkpoint.untrusted import parse_json_object, quote
from convert.errors import BadCheckpoint, UnsupportedModel

_EMBEDDINGS = ("word_embeddings.weight", "position_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias")
_LAYER_MODULES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_LAYER_NAME = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
_CONFIG_NAMES = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
    "n_heads": "num_attention_heads",
    "n_layers": "num_hidden_layers",
    "activation": "hidden_act",
    "vocab_size": "vocab_size",
}
_REQUIRED = {
    "model_type": "bert",
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
"""What DistilBERT takes for granted; the values are also BERT's defaults."""


def bert_as_distilbert(checkpoint: Checkpoint) -> Checkpoint:
    """``checkpoint``, a BertModel, as a DistilBertModel; the pooler, which sentence vectors do not use, is left out.

    Raises:
        UnsupportedModel: it is no BERT encoder, or one that DistilBERT cannot express.
        BadCheckpoint: configuration values or tensors are missing.
    """
    for key, expected in _REQUIRED.items():
        found = checkpoint.config.get(key, None if key == "model_type" else expected)
        if found != expected:
            raise UnsupportedModel(
                f"{checkpoint.name}: config.json has {key} {quote(found)}, expected {expected!r} for a BERT encoder"
            )
    return replace(
        checkpoint,
        tensors=_rename(checkpoint),
        config=_config(checkpoint),
        files={name: _adapted_file(checkpoint, name, raw) for name, raw in checkpoint.files.items()},
    )


def _rename(checkpoint: Checkpoint) -> dict[str, LazyTensor]:
    source = checkpoint.tensors
    token_types = "embeddings.token_type_embeddings.weight"
    for name in (token_types, *(f"embeddings.{name}" for name in _EMBEDDINGS)):
        if name not in source:
            raise BadCheckpoint(f"{checkpoint.name}: the tensor {name!r} is missing; fetch the checkpoint again")
    positions, types = source["embeddings.position_embeddings.weight"], source[token_types]
    if not types.rows or types.shape[1:] != positions.shape[1:]:
        raise BadCheckpoint(
            f"{checkpoint.name}: the tensor {token_types!r} has shape {quote(types.shape)}, expected rows as in "
            f"{quote(positions.shape)}; fetch the checkpoint again"
        )
    renamed: dict[str, LazyTensor] = {}
    for name, tensor in source.items():
        match = _LAYER_NAME.fullmatch(name)
        if match and match[2] in _LAYER_MODULES:
            new_name = f"transformer.layer.{match[1]}.{_LAYER_MODULES[match[2]]}.{match[3]}"
            renamed[new_name] = tensor.renamed(new_name)
        elif name == positions.name:
            renamed[name] = add(positions, slice_rows(types, 0, 1))
        elif name.removeprefix("embeddings.") in _EMBEDDINGS:
            renamed[name] = tensor
    return renamed


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    missing = [key for key in _CONFIG_NAMES.values() if key not in checkpoint.config]
    if missing:
        raise BadCheckpoint(f"{checkpoint.name}: config.json has no {missing[0]}; fetch the checkpoint again")
    return {
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "pad_token_id": checkpoint.config.get("pad_token_id", 0),
        "sinusoidal_pos_embds": False,
        **{key: checkpoint.config[source] for key, source in _CONFIG_NAMES.items()},
    }


def _adapted_file(checkpoint: Checkpoint, name: str, raw: bytes) -> bytes:
    """The tokenizer files as a DistilBERT model wants them."""
    if name == "tokenizer_config.json":
        settings = parse_json_object(raw, f"{checkpoint.name} ({name})")
        settings |= {
            "tokenizer_class": "DistilBertTokenizer",
            "model_input_names": ["input_ids", "attention_mask"],
        }
        settings.pop("name_or_path", None)
        return (json.dumps(settings, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
    if name == "tokenizer.json":
        # Saved with the padding and truncation of the last call that trained the model; a client sets its own.
        tokenizer = parse_json_object(raw, f"{checkpoint.name} ({name})") | {
            "truncation": None,
            "padding": None,
        }
        return (json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
    return raw
