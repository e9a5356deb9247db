"""Encoders spend few bytes on scales and vectors: wide blocks and halves, which hardly change what they say."""

from collections import defaultdict
from pathlib import Path

import onnx
import pytest

from convert.dtypes import Dtype
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.quantize.block_size import compact_block_size
from convert.quantize.recipe import parse_recipe
from tests.families import tiny
from tests.true_shapes import write_distilbert

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("width", "product", "table"),
    [(768, 256, 768), (3072, 256, 256), (1024, 256, 1024), (384, 128, 384), (312, 64, 320), (40, 64, 64), (24, 32, 32)],
)
def test_blocks_are_as_wide_as_rows_allow_without_more_padding(width: int, product: int, table: int) -> None:
    assert compact_block_size(8, width, looked_up=False) == product
    assert compact_block_size(8, width, looked_up=True) == table
    assert compact_block_size(4, width, looked_up=True) == 32


def test_distilbert_with_a_classifier_downloads_at_most_68_megabytes(tmp_path: Path) -> None:
    write_distilbert(tmp_path / "in")
    report = convert(str(tmp_path / "in"), tmp_path / "out", progress=SilentProgress())
    (variant,) = report.manifest.variants
    assert (variant.dtype, variant.block_size) == (Dtype.Q8, 256)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert sum(path.stat().st_size for path in files) == variant.download_bytes <= 68_000_000


def stored(folder: Path, graph: str) -> dict[int, set[str]]:
    """Names of the floating-point tensors in the shards, by their type."""
    model = onnx.load(folder / "onnx" / graph, load_external_data=False)
    found = defaultdict(set)
    for tensor in model.graph.initializer:
        if tensor.external_data:
            found[tensor.data_type].add(tensor.name)
    return found


def test_quantized_encoders_store_halves_and_exact_ones_floats(tmp_path: Path) -> None:
    source = tiny.save_checkpoint(
        tmp_path / "in", tiny.DISTILBERT, tiny.random_weights(tiny.distilbert_shapes(tiny.DISTILBERT))
    )
    convert(str(source), tmp_path / "out", dtypes=[Dtype.Q8, Dtype.Q4, Dtype.FP32], progress=SilentProgress())
    for graph in ("model_quantized.onnx", "model_q4.onnx"):
        assert not stored(tmp_path / "out", graph)[FLOAT]
    assert not stored(tmp_path / "out", "model.onnx")[HALF]


def test_a_block_size_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    source = tiny.save_checkpoint(
        tmp_path / "in", tiny.DISTILBERT, tiny.random_weights(tiny.distilbert_shapes(tiny.DISTILBERT))
    )
    recipe = parse_recipe({"*lin1*": {"block_size": 16}, "*lin2*": {"bits": 4}}, "test")
    convert(str(source), tmp_path / "out", dtypes=[Dtype.Q8], recipe=recipe, progress=SilentProgress())
    model = onnx.load(tmp_path / "out" / "onnx" / "model_quantized.onnx", load_external_data=False)
    sizes = {
        node.name.split("/")[-2]: (attributes["bits"], attributes["block_size"])
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for attributes in [{item.name: item.i for item in node.attribute}]
    }
    assert sizes["ffn.lin1"] == (8, 16)
    assert sizes["ffn.lin2"] == (4, 32)
