"""T5 and BART, run in onnxruntime, against the original implementations on tiny random checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from convert.dtypes import Dtype
from convert.errors import BadCheckpoint, UnsupportedModel
from convert.families.blocks.distance_bias import bucket_of_distance
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families.encoders import arrays, cosine, original, save_checkpoint
from tests.reference.encoder_decoder_session import EncoderDecoderSession

CASES = ("bart", "bart_scaled", "t5", "t5_gated")
LEAST_COSINE = {Dtype.FP16: 0.9999, Dtype.Q8: 0.999, Dtype.Q4: 0.97, Dtype.Q4F16: 0.97}
TASK = "text2text-generation"


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp(request.param)
    source = save_checkpoint(root / "in", request.param)
    report = convert(str(source), root / "out", dtypes=list(Dtype), progress=SilentProgress())
    assert report.manifest.model.task == TASK
    stored = original(request.param)["tasks"][TASK]
    return root / "out" / "onnx", {**arrays(stored["inputs"]), **arrays(stored["outputs"])}


def test_fp32_matches_the_original(case: tuple[Path, dict[str, Any]]) -> None:
    graphs, stored = case
    session = EncoderDecoderSession(graphs)
    states = session.start(stored["input_ids"], stored["attention_mask"])
    kept = stored["attention_mask"].astype(bool)
    np.testing.assert_allclose(states[kept], stored["encoder_last_hidden_state"][kept], atol=1e-4)
    np.testing.assert_allclose(session.run(stored["decoder_input_ids"]), stored["logits"], atol=1e-4)


@pytest.mark.parametrize("dtype", LEAST_COSINE)
def test_reduced_precision_stays_close(case: tuple[Path, dict[str, Any]], dtype: Dtype) -> None:
    graphs, stored = case
    session = EncoderDecoderSession(graphs, dtype.suffix)
    session.start(stored["input_ids"], stored["attention_mask"])
    assert cosine(session.run(stored["decoder_input_ids"]), stored["logits"]) >= LEAST_COSINE[dtype]


@pytest.mark.parametrize("dtype", [Dtype.FP32, Dtype.Q4])
def test_caches_continue_the_answer(case: tuple[Path, dict[str, Any]], dtype: Dtype) -> None:
    graphs, stored = case
    session = EncoderDecoderSession(graphs, dtype.suffix)
    session.start(stored["input_ids"], stored["attention_mask"])
    ids = stored["decoder_input_ids"]
    whole = session.run(ids)
    session.start(stored["input_ids"], stored["attention_mask"])
    steps = [session.run(ids[:, :1]), session.run(ids[:, 1:5])]
    steps += [session.run(ids[:, at : at + 1]) for at in range(5, ids.shape[1])]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, atol=1e-4)


def test_half_precision_survives_sums_that_it_cannot_hold(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "in", "t5")
    weights = load_file(source / "model.safetensors")
    weights["encoder.block.1.layer.1.DenseReluDense.wi.weight"] *= 100
    weights["encoder.block.1.layer.1.DenseReluDense.wo.weight"] *= 60000
    save_file(weights, source / "model.safetensors")
    convert(str(source), tmp_path / "out", dtypes=[Dtype.FP16], progress=SilentProgress())
    stored = arrays(original("t5")["tasks"][TASK]["inputs"])
    session = EncoderDecoderSession(tmp_path / "out" / "onnx", Dtype.FP16.suffix)
    assert np.isfinite(session.start(stored["input_ids"], stored["attention_mask"])).all()
    assert np.isfinite(session.run(stored["decoder_input_ids"])).all()


def test_encoder_is_read_once(case: tuple[Path, dict[str, Any]]) -> None:
    graphs, stored = case
    session = EncoderDecoderSession(graphs)
    session.start(stored["input_ids"], stored["attention_mask"])
    ids = stored["decoder_input_ids"]
    session.run(ids[:, :3])
    session.given["encoder_hidden_states"] = np.full_like(session.given["encoder_hidden_states"], np.nan)
    np.testing.assert_allclose(session.run(ids[:, 3:]), stored["logits"][:, 3:], atol=1e-4)


def test_manifest_names_both_graphs(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "in", "t5")
    content = convert(str(source), tmp_path / "out", dtypes=[Dtype.Q4], progress=SilentProgress()).manifest
    variant = content.variant("q4")
    assert variant.graph == "onnx/decoder_model_merged_q4.onnx"
    assert variant.shards == ("onnx/decoder_model_merged_q4.onnx_data", "onnx/decoder_model_merged_q4.onnx_data_1")
    assert variant.encoder is not None
    assert variant.encoder.graph == "onnx/encoder_model_q4.onnx"
    assert variant.files[-6:] == (variant.encoder.graph, *variant.encoder.shards, variant.graph, *variant.shards)
    # The encoder's layers, and the keys and values that each layer of the decoder has of the text.
    config = original("t5")["config"]
    width, inner, kept = config["d_model"], config["num_heads"] * config["d_kv"], 2 * config["num_decoder_layers"]
    layers = config["num_layers"] * (4 * width * inner + 2 * width * config["d_ff"])
    assert variant.encoder.cost.per_token["linear_4bit"].macs == layers + kept * width * inner
    one, other = (content.files[each.shards[0]] for each in variant.graphs)
    assert one.sha256 == other.sha256  # the shared table, which is fetched once
    assert one.size_bytes == 97 * 64 + 2 * 2 * 97
    assert variant.largest_tensor_bytes == 97 * 64  # its codes
    files = [content.files[path] for path in variant.files]
    assert variant.download_bytes == sum({file.sha256: file.size_bytes for file in files}.values())
    assert variant.download_bytes <= sum(file.size_bytes for file in files) - one.size_bytes
    stored = sum(content.files[path].size_bytes for path in (*variant.encoder.shards, *variant.shards))
    assert stored - one.size_bytes >= variant.weight_bytes > 0.95 * (stored - one.size_bytes)
    shapes = original("t5")["shapes"].values()
    assert content.model.parameters == sum(int(np.prod(shape)) for shape in shapes)  # the shared table counts once


def test_buckets_of_distance_meet_at_the_largest() -> None:
    far = bucket_of_distance(np.array([-1000, -128, 128, 1000]), 32, 128, causal=False)
    assert far.tolist() == [15, 15, 31, 31]
    near = bucket_of_distance(np.array([-3, -1, 0, 1, 7]), 32, 128, causal=False)
    assert near.tolist() == [3, 1, 0, 17, 23]
    assert bucket_of_distance(np.array([-200, -128, -15, 0]), 32, 128, causal=True).tolist() == [31, 31, 15, 0]


@pytest.mark.parametrize(
    ("model_type", "change", "error", "said"),
    [
        ("t5", {"feed_forward_proj": "gelu"}, UnsupportedModel, "feed_forward_proj"),
        ("t5", {"relative_attention_num_buckets": 2}, UnsupportedModel, "4 buckets"),
        ("t5", {"relative_attention_max_distance": 3}, UnsupportedModel, "distances"),
        ("t5", {"tie_word_embeddings": False}, BadCheckpoint, "lm_head"),
        ("t5", {"num_layers": 4, "num_decoder_layers": 2}, BadCheckpoint, r"encoder\.block\.3"),
        ("t5", {"num_layers": 2}, BadCheckpoint, r"encoder\.block\.2.*has no place"),
        ("t5", {"num_decoder_layers": 1}, BadCheckpoint, r"decoder\.block\.1.*has no place"),
        ("bart", {"encoder_layers": 2}, BadCheckpoint, "has no place"),
        ("bart", {"decoder_layers": 1}, BadCheckpoint, "has no place"),
        ("bart", {"activation_function": "tanh"}, UnsupportedModel, "activation 'tanh'"),
        ("bart", {"decoder_attention_heads": 7}, UnsupportedModel, "7 heads"),
        ("bart", {"architectures": ["BartForSequenceClassification"]}, UnsupportedModel, "text-classification"),
    ],
)
def test_rejects_what_the_graphs_do_not_compute(
    tmp_path: Path, model_type: str, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    source = save_checkpoint(tmp_path / "in", model_type, **change)
    with pytest.raises(error, match=said):
        convert(str(source), tmp_path / "out", progress=SilentProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
