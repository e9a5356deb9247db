"""BERT viewed as DistilBERT: the same numbers, one sum, and no view of what it cannot express."""

import json
from dataclasses import replace

import numpy as np
import pytest

from convert.checkpoint.bert_as_distilbert import bert_as_distilbert
from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.safetensors import open_safetensors
from convert.errors import BadCheckpoint, FeatherweightError, UnsupportedModel

LAYER = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}


@pytest.fixture
def bert(minilm_checkpoint):
    """The same weights before the view."""
    stored = open_safetensors(minilm_checkpoint.mapped[0].path)
    config = {
        "model_type": "bert",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "hidden_act": "gelu",
        "vocab_size": 30522,
    }
    files = {
        "tokenizer.json": b'{"truncation": {"max_length": 128}, "padding": {}, "model": 1}',
        "tokenizer_config.json": b"{}",
    }
    return Checkpoint(stored.tensors, config, files, "bert", "unknown", {}, mapped=stored.files)


def test_minilm_has_the_stored_numbers_under_distilbert_names(minilm_checkpoint, bert):
    view, source = minilm_checkpoint.tensors, bert.tensors
    pairs = {f"embeddings.{name}": f"embeddings.{name}" for name in ("LayerNorm.weight", "LayerNorm.bias")}
    for layer in range(6):
        for new, old in LAYER.items():
            for kind in ("weight", "bias"):
                pairs[f"transformer.layer.{layer}.{new}.{kind}"] = f"encoder.layer.{layer}.{old}.{kind}"
    for new, old in pairs.items():
        assert np.array_equal(view[new].read(), source[old].read())
        assert view[new].name == new
    positions = source["embeddings.position_embeddings.weight"].read()
    token_type = source["embeddings.token_type_embeddings.weight"].read()[0]
    assert np.array_equal(
        view["embeddings.position_embeddings.weight"].read_rows(7, 300), (positions + token_type)[7:300]
    )
    rows = view["embeddings.word_embeddings.weight"].read_rows(30000, 30522)
    assert np.array_equal(rows, source["embeddings.word_embeddings.weight"].read()[30000:])
    assert len(view) == len(pairs) + 2


def test_minilm_is_described_as_distilbert(minilm_checkpoint):
    assert minilm_checkpoint.config == {
        "architectures": ["DistilBertModel"],
        "model_type": "distilbert",
        "activation": "gelu",
        "dim": 384,
        "hidden_dim": 1536,
        "max_position_embeddings": 512,
        "n_heads": 12,
        "n_layers": 6,
        "pad_token_id": 0,
        "sinusoidal_pos_embds": False,
        "vocab_size": 30522,
    }
    assert minilm_checkpoint.pooling == {"mode": "mean", "normalize": True, "max_tokens": 256}
    assert (minilm_checkpoint.name, minilm_checkpoint.license) == ("MiniLM L6 (DistilBERT)", "apache-2.0")
    tokenizer_config = json.loads(minilm_checkpoint.files["tokenizer_config.json"])
    assert tokenizer_config["model_input_names"] == ["input_ids", "attention_mask"]
    assert tokenizer_config["tokenizer_class"] == "DistilBertTokenizer"
    tokenizer = json.loads(minilm_checkpoint.files["tokenizer.json"])
    assert tokenizer["padding"] is None
    assert tokenizer["truncation"] is None


def test_other_tokenizer_settings_are_kept(bert):
    files = bert_as_distilbert(bert).files
    assert json.loads(files["tokenizer.json"]) == {"truncation": None, "padding": None, "model": 1}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"model_type": "roberta"}, UnsupportedModel, "has model_type 'roberta', expected 'bert'"),
        ({"layer_norm_eps": 1e-5}, UnsupportedModel, "has layer_norm_eps 1e-05, expected 1e-12"),
        ({"position_embedding_type": "relative_key"}, UnsupportedModel, "has position_embedding_type"),
        ({"is_decoder": True}, UnsupportedModel, "has is_decoder True"),
        ({"hidden_act": None}, BadCheckpoint, "has no hidden_act"),
    ],
)
def test_rejects_config(bert, changes, kind, message):
    config = {key: value for key, value in (bert.config | changes).items() if value is not None}
    with pytest.raises(FeatherweightError) as error:
        bert_as_distilbert(replace(bert, config=config))
    assert type(error.value) is kind
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["token_type_embeddings", "position_embeddings", "word_embeddings"])
def test_rejects_missing_embeddings(bert, name):
    tensors = {key: tensor for key, tensor in bert.tensors.items() if name not in key}
    with pytest.raises(BadCheckpoint, match=f"'embeddings.{name}.weight' is missing"):
        bert_as_distilbert(replace(bert, tensors=tensors))


def test_rejects_token_types_of_another_width(bert):
    name = "embeddings.token_type_embeddings.weight"
    tensors = dict(bert.tensors) | {name: bert.tensors["pooler.dense.bias"].renamed(name)}
    with pytest.raises(BadCheckpoint, match="has shape"):
        bert_as_distilbert(replace(bert, tensors=tensors))
