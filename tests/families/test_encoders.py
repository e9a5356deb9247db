"""Every encoder and every head, run in onnxruntime, against the original implementation on tiny random checkpoints."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from convert.dtypes import Dtype
from convert.errors import BadCheckpoint, UnsupportedModel
from convert.families.blocks.heads import TASKS
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families.encoders import arrays, cosine, original, save_checkpoint

ENCODERS = ("albert", "bert", "distilbert", "roberta")
LEAST_COSINE = {Dtype.FP16: 0.9999, Dtype.Q8: 0.999, Dtype.Q4: 0.97, Dtype.Q4F16: 0.97}


@pytest.fixture(scope="module", params=ENCODERS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / request.param, request.param)


def run(path: Path, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_every_head_matches_the_original(checkpoint: Path, task: str, tmp_path: Path) -> None:
    dtypes = list(Dtype) if task == "fill-mask" else [Dtype.FP32, Dtype.Q8, Dtype.Q4]
    report = convert(str(checkpoint), tmp_path / "out", dtypes=dtypes, task=task, progress=SilentProgress())
    stored = original(checkpoint.name)["tasks"][task]
    inputs, expected = arrays(stored["inputs"]), arrays(stored["outputs"])
    tokens = inputs["attention_mask"].astype(bool)
    assert report.manifest.model.task == task
    assert (report.manifest.model.labels is not None) == task.endswith("-classification")
    for dtype in dtypes:
        found = run(tmp_path / "out" / "onnx" / f"model{dtype.suffix}.onnx", inputs)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert value.shape == expected[name].shape
            kept = ... if task == "text-classification" else tokens
            if dtype == Dtype.FP32:
                np.testing.assert_allclose(value[kept], expected[name][kept], atol=1e-4)
            else:
                assert cosine(value[kept], expected[name][kept]) >= LEAST_COSINE[dtype], (dtype, name)


def test_architecture_chooses_the_task_and_a_bare_encoder_has_no_prefix(checkpoint: Path, tmp_path: Path) -> None:
    content = original(checkpoint.name)
    weights = load_file(checkpoint / "model.safetensors")
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in checkpoint.iterdir():
        (bare / file.name).write_bytes(file.read_bytes())
    save_file(
        {name.removeprefix(content["prefix"]): value for name, value in weights.items()}, bare / "model.safetensors"
    )
    report = convert(str(bare), tmp_path / "out", dtypes=[Dtype.FP32], progress=SilentProgress())
    assert report.manifest.model.task == "feature-extraction"
    stored = content["tasks"]["feature-extraction"]
    found = run(tmp_path / "out/onnx/model.onnx", arrays(stored["inputs"]))["last_hidden_state"]
    kept = arrays(stored["inputs"])["attention_mask"].astype(bool)
    np.testing.assert_allclose(found[kept], arrays(stored["outputs"])["last_hidden_state"][kept], atol=1e-4)


def test_albert_stores_the_layers_of_a_group_once(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "in", "albert")
    report = convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32, Dtype.Q4], progress=SilentProgress())
    tensors = original("albert")["shapes"].items()
    stored = sum(prod(shape) for name, shape in tensors if "albert.e" in name)  # encoder and embeddings: no head
    assert report.manifest.model.parameters == stored
    assert report.manifest.variant("fp32").weight_bytes == 4 * stored
    # 6 layers of 2, of which 3 x 2 are stored: every layer's work is counted all the same.
    linear = {name: shape for name, shape in tensors if "albert_layers" in name and len(shape) == 2}
    narrow = prod(original("albert")["shapes"]["albert.encoder.embedding_hidden_mapping_in.weight"])
    macs = report.manifest.variant("q4").cost.per_token["linear_4bit"].macs
    assert macs == narrow + 2 * sum(map(prod, linear.values()))


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForSequenceClassification", "text-classification"),
        ("BertForTokenClassification", "token-classification"),
        ("BertForQuestionAnswering", "question-answering"),
        ("BertForMaskedLM", "fill-mask"),
        ("BertModel", "feature-extraction"),
    ],
)
def test_architecture_names_the_task(tmp_path: Path, architecture: str, task: str) -> None:
    source = save_checkpoint(tmp_path / "in", "bert", architectures=[architecture])
    report = convert(str(source), tmp_path / "out", dtypes=[Dtype.Q8], progress=SilentProgress())
    assert report.manifest.model.task == task


def test_norms_may_be_called_gamma_and_beta(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "in", "bert")
    weights = load_file(source / "model.safetensors")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    save_file(renamed, source / "model.safetensors")
    convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32], task="fill-mask", progress=SilentProgress())
    stored = original("bert")["tasks"]["fill-mask"]
    inputs = arrays(stored["inputs"])
    kept = inputs["attention_mask"].astype(bool)
    found = run(tmp_path / "out/onnx/model.onnx", inputs)["logits"]
    np.testing.assert_allclose(found[kept], arrays(stored["outputs"])["logits"][kept], atol=1e-4)


@pytest.mark.parametrize(
    ("model_type", "change"),
    [
        ("bert", {"num_hidden_layers": 2}),
        ("distilbert", {"n_layers": 2}),
        ("roberta", {"num_hidden_layers": 2}),
        ("albert", {"num_hidden_groups": 2}),
        ("albert", {"inner_group_num": 1}),
    ],
)
def test_rejects_a_config_that_counts_fewer_layers(tmp_path: Path, model_type: str, change: dict[str, Any]) -> None:
    source = save_checkpoint(tmp_path / "in", model_type, **change)
    with pytest.raises(BadCheckpoint, match="has no place"):
        convert(str(source), tmp_path / "out", progress=SilentProgress())


@pytest.mark.parametrize(
    ("model_type", "change", "said"),
    [
        ("bert", {"hidden_act": "swish"}, "activation 'swish'"),
        ("bert", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"num_attention_heads": 7}, "7 heads"),
        ("bert", {"id2label": {"1": "A", "2": "B"}}, "id2label"),
        ("bert", {"id2label": {"0": "A", "1": "A"}}, "label twice"),
        ("albert", {"num_hidden_groups": 7}, "7 groups"),
        ("roberta", {"max_position_embeddings": 2}, "no position"),
        ("distilbert", {"activation": "tanh"}, "activation 'tanh'"),
    ],
)
def test_rejects_what_the_graph_does_not_compute(
    tmp_path: Path, model_type: str, change: dict[str, Any], said: str
) -> None:
    source = save_checkpoint(tmp_path / "in", model_type, **change)
    with pytest.raises(UnsupportedModel, match=said):
        convert(str(source), tmp_path / "out", task="text-classification", progress=SilentProgress())
    assert not (tmp_path / "out").exists()
