"""GGUF architectures as Hugging Face ones."""

import math

import numpy as np
import pytest

from convert.checkpoint.gguf import open_gguf
from convert.checkpoint.gguf_families import hugging_face_view
from convert.errors import BadCheckpoint, FeatherweightError, UnsupportedModel


@pytest.fixture
def view(tmp_path, write_gguf):
    """Writes a changed toy llama and reads it."""

    def open_changed(change=lambda metadata, tensors: None, matrix_type="F32"):
        return hugging_face_view(open_gguf(write_gguf(tmp_path / "m.gguf", matrix_type, change)))

    return open_changed


def rotated_as_llama_cpp_does(weights, heads):
    """LlamaModel.permute of convert_hf_to_gguf.py, row by row: pair (i, i + half) of a head becomes (2i, 2i + 1)."""
    permuted = np.empty_like(weights)
    head_dim = len(weights) // heads
    half = head_dim // 2
    for head in range(heads):
        for index in range(half):
            base = head * head_dim
            permuted[base + 2 * index] = weights[base + index]
            permuted[base + 2 * index + 1] = weights[base + half + index]
    return permuted


def test_config_is_that_of_the_original(view):
    config, tensors = view()
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 128,
        "mlp_bias": False,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": tensors["model.embed_tokens.weight"].shape[0],
    }


def test_untied_head_and_biases_are_seen(view):
    def change(metadata, tensors):
        tensors["output.weight"] = tensors["token_embd.weight"] * 2
        tensors["blk.0.attn_q.bias"] = np.arange(64, dtype=np.float32)

    config, tensors = view(change)
    assert config["tie_word_embeddings"] is False
    assert config["attention_bias"] is True
    assert tensors["lm_head.weight"].shape == tensors["model.embed_tokens.weight"].shape
    bias = tensors["model.layers.0.self_attn.q_proj.bias"].read()
    assert np.array_equal(rotated_as_llama_cpp_does(bias, 2), np.arange(64))


@pytest.mark.parametrize("matrix_type", ["F32", "F16", "Q4_1", "Q8_0"])
def test_query_and_key_rows_are_in_their_original_order(view, matrix_type):
    stored = {}
    _, tensors = view(lambda metadata, written: stored.update(written), matrix_type)
    for gguf_name, hf_name, heads in (("attn_q", "q_proj", 2), ("attn_k", "k_proj", 1)):
        tensor = tensors[f"model.layers.1.self_attn.{hf_name}.weight"]
        assert tensor.name == f"model.layers.1.self_attn.{hf_name}.weight"
        weights = tensor.read()
        if matrix_type == "F32":
            assert np.array_equal(rotated_as_llama_cpp_does(weights, heads), stored[f"blk.1.{gguf_name}.weight"])
        for start, stop in ((0, 1), (5, 23), (31, 32)):
            assert np.array_equal(tensor.read_rows(start, stop), weights[start:stop])
            blocks = tensor.read_blocks(start, stop)
            assert (blocks is None) == (tensor.block_format is None)
            if blocks is not None:
                assert np.array_equal(blocks.dequantize(), weights[start:stop])


def test_smollm2_query_rows_are_in_their_original_order(smollm2_checkpoint):
    own = open_gguf(smollm2_checkpoint.mapped[0].path).tensors
    for layer in range(30):
        for gguf_name, hf_name, heads in (("attn_q", "q_proj", 9), ("attn_k", "k_proj", 3)):
            weights = smollm2_checkpoint.tensors[f"model.layers.{layer}.self_attn.{hf_name}.weight"].read()
            stored = own[f"blk.{layer}.{gguf_name}.weight"].read()
            assert np.array_equal(rotated_as_llama_cpp_does(weights, heads), stored)


def test_other_tensors_are_only_renamed(view):
    stored = {}
    _, tensors = view(lambda metadata, written: stored.update(written))
    for gguf_name, hf_name in {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "blk.1.attn_norm": "model.layers.1.input_layernorm",
        "blk.1.attn_v": "model.layers.1.self_attn.v_proj",
        "blk.1.attn_output": "model.layers.1.self_attn.o_proj",
        "blk.1.ffn_norm": "model.layers.1.post_attention_layernorm",
        "blk.0.ffn_gate": "model.layers.0.mlp.gate_proj",
        "blk.0.ffn_up": "model.layers.0.mlp.up_proj",
        "blk.0.ffn_down": "model.layers.0.mlp.down_proj",
    }.items():
        assert np.array_equal(tensors[f"{hf_name}.weight"].read(), stored[f"{gguf_name}.weight"])
    assert len(tensors) == len(stored)


def llama3_divisors(factor, theta, head_dim=32):
    """As convert_hf_to_gguf.py writes them, frequency by frequency."""
    divisors = []
    for index in range(head_dim // 2):
        wavelength = 2 * math.pi * theta ** (2 * index / head_dim)
        if wavelength < 8192 / 4:
            divisors.append(1.0)
        elif wavelength > 8192:
            divisors.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / 3
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_rope_scaling_is_recovered(view, factor):
    def change(metadata, tensors):
        metadata["llama.rope.freq_base"] = 500000.0
        tensors["rope_freqs.weight"] = llama3_divisors(factor, 500000.0)

    config, tensors = view(change)
    assert config["rope_theta"] == 500000.0
    assert config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    assert "rope_freqs.weight" not in tensors


def test_linear_rope_scaling_is_kept(view):
    change = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    config, _ = view(lambda metadata, tensors: metadata.update(change))
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


def without(name):
    return lambda metadata, tensors: (tensors.pop(name, None), metadata.pop(name, None))


def with_metadata(**values):
    return lambda metadata, tensors: metadata.update({key.replace("__", "."): value for key, value in values.items()})


def with_tensor(name, shape):
    return lambda metadata, tensors: tensors.update({name: np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (with_metadata(general__architecture="mamba"), UnsupportedModel, "'mamba', expected llama"),
        (without("blk.1.ffn_up.weight"), BadCheckpoint, "'blk.1.ffn_up.weight' is missing (1 in all)"),
        (without("token_embd.weight"), BadCheckpoint, "'token_embd.weight' is missing"),
        (without("output_norm.weight"), BadCheckpoint, "'output_norm.weight' is missing"),
        (without("llama.block_count"), BadCheckpoint, "'llama.block_count' is missing"),
        (with_metadata(llama__block_count=3), BadCheckpoint, "too few for 3 layers"),
        (with_metadata(llama__block_count=2_000_000_000), BadCheckpoint, "too few for 2000000000 layers"),
        (with_metadata(llama__block_count=1), UnsupportedModel, "'blk.1.attn_norm.weight' has no place"),
        (with_metadata(llama__embedding_length=128), BadCheckpoint, "rows of 64, expected llama.embedding_length"),
        (with_metadata(llama__attention__head_count=5), BadCheckpoint, "a multiple of 5 heads"),
        (with_metadata(llama__attention__head_count=0), BadCheckpoint, "a whole number from 1 on"),
        (with_metadata(llama__attention__head_count_kv=2), BadCheckpoint, "has 32 rows, expected 2 heads"),
        (with_metadata(llama__attention__key_length=16), BadCheckpoint, "has 64 rows, expected 2 heads of an even 16"),
        (with_metadata(llama__rope__dimension_count=16), UnsupportedModel, "differs from the head size 32"),
        (with_metadata(llama__attention__value_length=16), UnsupportedModel, "differs from the head size 32"),
        (with_metadata(llama__expert_count=8), UnsupportedModel, "is a mixture of experts"),
        (with_metadata(llama__rope__freq_base=-1.0), BadCheckpoint, "expected a positive number"),
        (with_metadata(llama__rope__freq_base=math.inf), BadCheckpoint, "expected a positive number"),
        (with_metadata(llama__rope__scaling__type="yarn"), UnsupportedModel, "scales its rope by 'yarn'"),
        (with_tensor("rope_freqs.weight", 7), UnsupportedModel, "are not those of Llama 3"),
        (with_tensor("blk.0.attn_q_norm.weight", 32), UnsupportedModel, "'blk.0.attn_q_norm.weight' has no place"),
    ],
)
def test_rejects(view, change, kind, message):
    with pytest.raises(FeatherweightError) as error:
        view(change)
    assert type(error.value) is kind
    assert message in str(error.value)
    assert "\n" not in str(error.value)
