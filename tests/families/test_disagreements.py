"""A config that does not describe the tensors beside it is refused in one sentence, and nothing is left behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.dtypes import Dtype
from convert.errors import BadCheckpoint, FeatherweightError, UnsupportedModel
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families import tiny
from tests.families.decoders import CASES, POSITIONS, ids, shapes, stored
from tests.reference.decoder_session import DecoderSession


def converted(tmp_path: Path, name: str, weights: dict[str, Any], *dtypes: Dtype, **changes: Any) -> Path:
    source = tiny.save_checkpoint(tmp_path / "in", CASES[name] | changes, weights)
    convert(str(source), tmp_path / "out", dtypes=dtypes or [Dtype.Q4], progress=SilentProgress())
    return tmp_path / "out"


def refused(
    tmp_path: Path, name: str, weights: dict[str, Any], error: type[FeatherweightError], said: str, **changes: Any
) -> None:
    with pytest.raises(error, match=said) as caught:
        converted(tmp_path, name, weights, **changes)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("llama_scaled", {"num_hidden_layers": 2}, r"model\.layers\.2.*no place.*16 such"),
        ("llama_scaled", {"attention_bias": False}, r"self_attn.*bias.*no place"),
        ("llama_scaled", {"num_hidden_layers": 4}, r"model\.layers\.3.*missing"),
        ("llama_scaled", {"vocab_size": 302}, r"embed_tokens.*\[301, 80\].*\[302, 80\]"),
        ("qwen2", {"tie_word_embeddings": False}, r"lm_head.weight is missing"),
        ("phi3", {"num_key_value_heads": 3}, r"qkv_proj.*320 rows.*384"),
        ("gemma2", {"model_type": "gemma"}, r"feedforward_layernorm.*no place"),
        ("gpt2", {"n_head": 5}, "n_head: 5"),
        ("gemma", {"num_attention_heads": 0}, "num_attention_heads: 0"),
        ("gemma", {"head_dim": "32"}, "head_dim: '32', expected a whole number or null"),
        ("gemma", {"hidden_size": -80}, "hidden_size: -80, expected a whole number"),
        ("gemma", {"rope_theta": True}, "rope_theta: True, expected a number"),
        ("gemma2", {"layer_types": [{}]}, "layer_types.*expected a list or null"),
        ("smollm3", {"no_rope_layers": [1]}, "no_rope_layers.*1 entries, expected 3"),
    ],
)
def test_rejects_a_config_of_another_checkpoint(tmp_path: Path, name: str, change: dict[str, Any], said: str) -> None:
    refused(tmp_path, name, tiny.random_weights(shapes(name)), BadCheckpoint, said, **change)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("gemma", {"hidden_activation": "relu"}, "hidden_act='relu'"),
        ("gemma", {"rope_theta": 0}, "rope_theta=0"),
        ("gemma", {"rope_parameters": {"rope_theta": "1e6"}}, "rope_theta='1e6'"),
        ("phi3_longrope", {"original_max_position_embeddings": 0}, "original_max_position_embeddings=0"),
        ("gemma", {"rope_scaling": {"rope_type": "linear"}}, "factor=None"),
        ("llama_scaled", {"rope_scaling": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        ("phi3_longrope", {"rope_scaling": {"type": "longrope", "short_factor": [1]}}, "short_factor of 8 numbers"),
        ("gemma2", {"layer_types": ["chunked_attention"] * 3}, "layer_types"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "bidirectional"),
        ("gemma", {"num_key_value_heads": 4}, "6 attention heads for 4"),
        ("gemma", {"head_dim": 24}, "heads of 24"),
        ("phi3", {"partial_rotary_factor": 0.25}, "rotation of 8 of the 32"),
    ],
)
def test_rejects_what_the_graph_cannot_compute(tmp_path: Path, name: str, change: dict[str, Any], said: str) -> None:
    refused(tmp_path, name, tiny.random_weights(shapes(name)), UnsupportedModel, said, **change)


def test_tied_head_may_be_stored_twice(tmp_path: Path) -> None:
    weights = tiny.random_weights(shapes("gemma"))
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    out = converted(tmp_path, "gemma", weights, Dtype.FP32)
    logits = DecoderSession(out / "onnx" / "model.onnx").run(ids())
    np.testing.assert_allclose(logits[0], stored("gemma")["logits"][0], atol=1e-4)


def test_rejects_a_tied_head_that_differs(tmp_path: Path) -> None:
    weights = tiny.random_weights(shapes("gemma"))
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
    weights["lm_head.weight"][300, 79] += 1
    refused(tmp_path, "gemma", weights, BadCheckpoint, "lm_head.weight differs from model.embed_tokens.weight")


def test_gpt2_may_have_no_prefix_and_keep_its_masks(tmp_path: Path) -> None:
    weights = {name.removeprefix("transformer."): value for name, value in tiny.random_weights(shapes("gpt2")).items()}
    weights |= {f"h.{layer}.attn.bias": np.tril(np.ones((1, 1, 64, 64), np.float32)) for layer in range(3)}
    out = converted(tmp_path, "gpt2", weights, Dtype.FP32)
    logits = DecoderSession(out / "onnx" / "model.onnx").run(ids())
    np.testing.assert_allclose(logits[0], stored("gpt2")["logits"][0], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "older", "newer"),
    [
        (
            "gemma3_text",
            ("rope_theta", "rope_local_base_freq", "rope_scaling"),
            {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 3000.0},
            },
        ),
        ("phi3", ("partial_rotary_factor",), {"rope_type": "default", "partial_rotary_factor": 0.5}),
        ("phi3_longrope", ("rope_scaling",), CASES["phi3_longrope"]["rope_scaling"] | {"rope_type": "longrope"}),
        ("gemma", (), {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}),
        ("llama_scaled", ("rope_scaling",), CASES["llama_scaled"]["rope_scaling"] | {"rope_theta": 10000.0}),
    ],
)
def test_rotary_parameters_may_be_written_the_newer_way(
    tmp_path: Path, name: str, older: tuple[str, ...], newer: dict[str, Any]
) -> None:
    weights = tiny.random_weights(shapes(name))
    config = {key: value for key, value in CASES[name].items() if key not in older} | {"rope_parameters": newer}
    source = tiny.save_checkpoint(tmp_path / "in", config, weights)
    convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32], progress=SilentProgress())
    logits = DecoderSession(tmp_path / "out" / "onnx" / "model.onnx").run(ids())
    np.testing.assert_allclose(logits[list(POSITIONS)], stored(name)["logits"], atol=1e-4)
