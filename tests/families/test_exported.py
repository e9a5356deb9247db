"""Architectures without a family: what optimum exports is quantized and published like everything else.

A stand-in for optimum, which needs torch, hands out a graph made here; the last test runs optimum where it is there.
"""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.verification import verify_model
from tests.families import tiny

HAS_OPTIMUM = find_spec("optimum") is not None
CONFIG = {
    "model_type": "opt",
    "architectures": ["OPTForCausalLM"],
    "hidden_size": 64,
    "word_embed_proj_dim": 64,
    "ffn_dim": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 301,
    "max_position_embeddings": 48,
}
IDS = np.random.default_rng(3).integers(4, 290, (1, 11))
STAND_IN = """
import shutil, sys
assert sys.argv[1::2][:3] == ["--model", "--task", "--opset"], sys.argv
if sys.argv[4] != "text-generation-with-past":
    sys.exit("Trying to export a opt model, which is not supported\\n")
shutil.copy({graph!r}, sys.argv[-1])
"""


def value(name: str, kind: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def exported_graph() -> onnx.ModelProto:
    """As optimum writes it: a tied table, numbered weights, a Gemm between Reshapes, keys that grow, position_ids."""
    rng = np.random.default_rng(7)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((rng.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32), name)

    nodes = [
        helper.make_node("Gather", ["embed.weight", "input_ids"], ["words"], "/model/embed/Gather"),
        helper.make_node("Gather", ["places.weight", "position_ids"], ["places"], "/model/places/Gather"),
        helper.make_node("Add", ["words", "places"], ["sum"], "/model/Add"),
        helper.make_node("MatMul", ["sum", "onnx::MatMul_12"], ["inner"], "/model/up/MatMul"),
        helper.make_node("Reshape", ["inner", "flat"], ["rows"], "/model/Reshape"),
        helper.make_node("Identity", ["down.weight"], ["shared"], "/model/down/Identity"),
        helper.make_node("Gemm", ["rows", "shared", "down.bias"], ["out"], "/model/down/Gemm", transB=1),
        helper.make_node("Shape", ["sum"], ["shape"], "/model/Shape"),
        helper.make_node("Reshape", ["out", "shape"], ["hidden"], "/model/Reshape_1"),
        helper.make_node("Unsqueeze", ["hidden", "one"], ["pair"], "/model/Unsqueeze"),
        helper.make_node("Concat", ["past_key_values.0.key", "pair"], ["present.0.key"], "/model/Concat", axis=2),
        helper.make_node("Concat", ["past_key_values.0.value", "pair"], ["present.0.value"], "/model/Concat_1", axis=2),
        helper.make_node("ReduceMean", ["present.0.key", "two"], ["mean"], "/model/ReduceMean", keepdims=0),
        helper.make_node("Add", ["hidden", "mean"], ["final"], "/model/Add_1"),
        helper.make_node("Transpose", ["embed.weight"], ["turned"], "/lm_head/Transpose", perm=[1, 0]),
        helper.make_node("MatMul", ["final", "turned"], ["logits"], "/lm_head/MatMul"),
    ]
    weights = [
        weight("embed.weight", 301, 64),
        weight("places.weight", 48, 64),
        weight("onnx::MatMul_12", 64, 96),
        weight("down.weight", 64, 96),
        weight("down.bias", 64),
        numpy_helper.from_array(np.array([-1, 96]), "flat"),
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.array([2]), "two"),
    ]
    pairs = ("past_key_values.0.key", "past_key_values.0.value")
    inputs = [
        *(value(name, TensorProto.INT64, "batch", "sequence") for name in ("input_ids", "attention_mask")),
        *(value(name, TensorProto.FLOAT, "batch", 1, "past", 64) for name in pairs),
        value("position_ids", TensorProto.INT64, "batch", "sequence"),
    ]
    outputs = [value("logits", TensorProto.FLOAT, "batch", "sequence", 301)]
    outputs += [
        value(name.replace("past_key_values", "present"), TensorProto.FLOAT, "batch", 1, "total", 64) for name in pairs
    ]
    graph = helper.make_graph(nodes, "main", inputs, outputs, weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny.save_checkpoint(tmp_path / "in", CONFIG, {"any.weight": np.zeros((2, 3), np.float32)})


@pytest.fixture
def optimum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[onnx.ModelProto], None]:
    """Installs a stand-in that exports the given graph."""

    def install(model: onnx.ModelProto) -> None:
        root = tmp_path / "site"
        for package in ("optimum/exporters/onnx", "torch"):
            for folder in (root / package, *(root / package).parents[: package.count("/")]):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "__init__.py").touch()
        onnx.save(model, root / "model.onnx")
        (root / "optimum/exporters/onnx/__main__.py").write_text(STAND_IN.format(graph=str(root / "model.onnx")))
        monkeypatch.syspath_prepend(root)
        monkeypatch.setenv("PYTHONPATH", str(root))

    return install


def feeds(session: onnxruntime.InferenceSession, count: int, past: dict[str, Any]) -> dict[str, Any]:
    done = past["past_key_values.0.key"].shape[2]
    every = {
        "input_ids": IDS[:, done : done + count],
        "attention_mask": np.ones((1, done + count), np.int64),
        "position_ids": np.arange(done, done + count)[None],
        **past,
    }
    return {item.name: every[item.name] for item in session.get_inputs()}


def run(path: Path, first: int) -> Any:
    """Logits of ``IDS``: ``first`` of them at once, then one by one."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    past = {f"past_key_values.0.{part}": np.zeros((1, 1, 0, 64), np.float32) for part in ("key", "value")}
    rows = []
    for count in (first, *[1] * (IDS.shape[1] - first)):
        logits, *pairs = session.run(None, feeds(session, count, past))
        past = dict(zip(past, pairs, strict=True))
        rows.append(logits[0])
    return np.concatenate(rows)


@pytest.mark.skipif(HAS_OPTIMUM, reason="optimum is installed")
def test_unknown_architecture_says_how_to_install_the_exporter(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"'opt'.*pip install 'featherweight\[optimum\]'"):
        convert(str(checkpoint), tmp_path / "out", progress=SilentProgress())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.skipif(HAS_OPTIMUM, reason="optimum is installed")
def test_exported_graph_is_quantized_and_published(
    checkpoint: Path, tmp_path: Path, optimum: Callable[[onnx.ModelProto], None]
) -> None:
    optimum(exported_graph())
    dtypes = [Dtype.FP32, Dtype.Q8, Dtype.Q4]
    report = convert(str(checkpoint), tmp_path / "out", dtypes=dtypes, progress=SilentProgress())
    expected = run(tmp_path / "site" / "model.onnx", 4)
    for dtype, least in ((Dtype.FP32, 1 - 1e-6), (Dtype.Q8, 0.999), (Dtype.Q4, 0.97)):
        found = run(tmp_path / "out" / "onnx" / f"model{dtype.suffix}.onnx", 4)
        cosine = (found * expected).sum() / (np.linalg.norm(found) * np.linalg.norm(expected))
        assert cosine >= least, dtype
    model = report.manifest.model
    assert (model.family, model.task, model.vocab_size, model.context_length) == ("opt", "text-generation", 301, 48)
    assert model.kv_cache is not None
    assert (model.kv_cache.layers, model.kv_cache.kv_heads, model.kv_cache.head_dim) == (1, 1, 64)
    assert verify_model(tmp_path / "out", SilentProgress()).problems == []


@pytest.mark.skipif(HAS_OPTIMUM, reason="optimum is installed")
def test_quantized_export_keeps_a_tied_table_once(
    checkpoint: Path, tmp_path: Path, optimum: Callable[[onnx.ModelProto], None]
) -> None:
    optimum(exported_graph())
    convert(str(checkpoint), tmp_path / "out", dtypes=[Dtype.Q4], progress=SilentProgress())
    graph = onnx.load(tmp_path / "out/onnx/model_q4.onnx", load_external_data=False).graph
    assert {item.name for item in graph.initializer if item.data_type == TensorProto.UINT8} == {
        "embed.weight_q8",
        "places.weight_q8",
        "model.up.weight_q4",
        "down.weight_q4",
    }
    assert [node.op_type for node in graph.node].count("MatMulNBits") == 3
    assert "position_ids" not in [item.name for item in graph.input]


@pytest.mark.skipif(HAS_OPTIMUM, reason="optimum is installed")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "fill-mask"}, "cannot export it for fill-mask .*not supported"),
        ({"dtypes": [Dtype.Q4F16]}, "q4f16 is not supported"),
        ({"task": "translation"}, "task 'translation'"),
    ],
)
def test_rejects_what_cannot_be_exported(
    checkpoint: Path,
    tmp_path: Path,
    optimum: Callable[[onnx.ModelProto], None],
    options: dict[str, Any],
    said: str,
) -> None:
    optimum(exported_graph())
    with pytest.raises(UnsupportedModel, match=said):
        convert(str(checkpoint), tmp_path / "out", progress=SilentProgress(), **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "site"]


def test_optimum_exports_a_real_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.onnx", reason="needs featherweight[optimum]")
    transformers = pytest.importorskip("transformers")
    source = tmp_path / "in"
    config = transformers.AutoConfig.for_model(**{key: item for key, item in CONFIG.items() if key != "architectures"})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (source / name).write_text(json.dumps({}))
    convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32, Dtype.Q8], progress=SilentProgress())
    assert verify_model(tmp_path / "out", SilentProgress()).problems == []
