"""Inspection: what is told of a model directory is what its manifest and its graphs say."""

from pathlib import Path

import onnx
import pytest

from convert import manifest
from convert.dtypes import Dtype
from convert.errors import BadModelDirectory
from convert.inspection import PREFILL_TOKENS, inspect_model, walk
from tests import model_directories


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directories.decoder(tmp_path_factory.mktemp("inspected"), Dtype.Q4, Dtype.FP32)


def test_variants_sizes_and_operators(model_dir: Path) -> None:
    report, content = inspect_model(model_dir), manifest.load(model_dir)
    assert report.revision == manifest.revision(model_dir)
    assert [item.dtype for item in report.variants] == ["q4", "fp32"]
    for item, listed in zip(report.variants, content.variants, strict=True):
        assert item.download_bytes == sum((model_dir / path).stat().st_size for path in listed.files)
        graph = onnx.load(model_dir / listed.graph, load_external_data=False).graph
        assert sum(item.operators.values()) == len(graph.node)
    q4, fp32 = report.variants
    assert q4.operators["MatMulNBits"] == fp32.operators["MatMul"] == 3 * 7 + 1


@pytest.mark.parametrize("tokens", [1, 100, 10_000])
def test_memory_is_weights_cache_and_the_activations_of_a_prompt(model_dir: Path, tokens: int) -> None:
    cost = manifest.load(model_dir).variant("fp32").cost
    variant = inspect_model(model_dir, context_length=tokens).variants[1]
    assert cost.kv_bytes_per_token == 3 * 2 * 2 * (32 * 2 + 4)
    activations = min(tokens, PREFILL_TOKENS) * cost.activation_bytes_per_token
    assert variant.memory_bytes == variant.weight_bytes + tokens * cost.kv_bytes_per_token + activations


def test_context_defaults_to_what_the_model_takes(model_dir: Path) -> None:
    assert inspect_model(model_dir).variants[0].context_length == 128


def test_operators_of_subgraphs_are_counted() -> None:
    branch = onnx.parser.parse_graph("g () => (float[1] y) { y = Constant <value_floats = [1.0]> () }")
    node = onnx.helper.make_node("If", ["condition"], ["z"], then_branch=branch, else_branch=branch)
    graph = onnx.helper.make_graph([node], "outer", [], [])
    assert [each.op_type for each in walk(graph)] == ["If", "Constant", "Constant"]


def test_rejects_a_graph_that_cannot_be_read(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "manifest.json").write_bytes((model_dir / "manifest.json").read_bytes())
    with pytest.raises(BadModelDirectory, match=r"model_q4\.onnx: not a readable ONNX graph"):
        inspect_model(tmp_path)
