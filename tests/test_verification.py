"""Verification of small real model directories: sound ones run, and every kind of damage is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from convert import manifest
from convert.dtypes import Dtype
from convert.errors import BadModelDirectory
from convert.progress import SilentProgress
from convert.shards import hash_file
from convert.verification import VerificationReport, verify_model
from tests import model_directories

STORED = [
    ("bert", "token-classification"),
    ("albert", "question-answering"),
    ("roberta", "fill-mask"),
    ("t5", "text2text-generation"),
    ("bart", "text2text-generation"),
]
GRAPH, SHARD = "onnx/model.onnx", "onnx/model.onnx_data"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    for make in (model_directories.decoder, model_directories.encoder, model_directories.classifier):
        make(root, Dtype.FP32, Dtype.Q4F16)
    for name, task in STORED:
        model_directories.stored(root, name, task, Dtype.FP32, Dtype.Q4F16)
    return root


@pytest.fixture
def model_dir(sound: Path, tmp_path: Path) -> Path:
    """A copy of the decoder to damage."""
    return Path(shutil.copytree(sound / "decoder", tmp_path / "decoder"))


def verify(model_dir: Path, **options: Any) -> VerificationReport:
    return verify_model(model_dir, SilentProgress(), **options)


@pytest.mark.parametrize("name", ["decoder", "encoder", "classifier", *("-".join(pair) for pair in STORED)])
def test_sound_models_run_in_every_variant(sound: Path, name: str) -> None:
    report = verify(sound / name)
    assert report.problems == []
    assert report.variants == ["fp32", "q4f16"]
    assert report.files == sum(path.is_file() for path in (sound / name).rglob("*")) - 1


def test_nothing_runs_when_asked_not_to(sound: Path) -> None:
    assert verify(sound / "decoder", run=False).variants == []


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_link(path: Path) -> None:
    target = path.rename(path.parent.parent.parent / path.name)
    path.symlink_to(target)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped_byte": (lambda root: flip(root / SHARD, 70), f"{SHARD}: SHA-256 differs in chunk 0 (the first begins at"),
    "cut_file": (lambda root: cut(root / SHARD), f"{SHARD}: "),
    "missing_file": (lambda root: (root / "config.json").unlink(), "config.json: is missing"),
    "directory_for_a_file": (
        lambda root: ((root / GRAPH).unlink(), (root / GRAPH).mkdir())[1],
        f"{GRAPH}: is not a file",
    ),
    "stray_file": (lambda root: (root / "notes.txt").write_text("x") and None, "notes.txt: not in the manifest"),
    "stray_hidden_file": (lambda root: (root / "onnx" / ".x").write_text("x") and None, "onnx/.x: not in the manifest"),
    "stray_link": (lambda root: (root / "loop").symlink_to("nowhere"), "loop: not in the manifest"),
    "link_for_a_file": (lambda root: replace_by_link(root / SHARD), f"{SHARD}: is a symbolic link"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_rejects(model_dir: Path, damage: str) -> None:
    change, said = DAMAGE[damage]
    change(model_dir)
    (problem,) = verify(model_dir).problems
    assert problem.startswith(said)


def test_names_the_chunks_that_differ(tmp_path: Path, model_dir: Path) -> None:
    shard = model_dir / "onnx/model.onnx_data"
    chunks = manifest.load(model_dir).files[SHARD].chunks
    assert len(chunks) > 1, "the tiny model no longer fills two chunks"
    flip(shard, -1)
    assert f"chunk {len(chunks) - 1} " in verify(model_dir).problems[0]


def test_every_problem_is_told_and_sound_variants_still_run(model_dir: Path) -> None:
    flip(model_dir / SHARD, 70)
    (model_dir / "config.json").unlink()
    (model_dir / "notes.txt").write_text("x")
    report = verify(model_dir)
    assert len(report.problems) == 3
    assert report.variants == ["q4f16"]


def test_rejects_a_directory_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(BadModelDirectory, match="not found"):
        verify(tmp_path)


def change_graph(model_dir: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change the fp32 graph and list its new hash, so that only the graph itself is wrong."""
    path = model_dir / GRAPH
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    list_again(model_dir)


def list_again(model_dir: Path) -> None:
    document = json.loads((model_dir / manifest.NAME).read_text())
    for name, listed in document["files"].items():
        entry = hash_file(model_dir / name, name)
        listed.update(size_bytes=entry.size_bytes, sha256=entry.sha256, chunks=list(entry.chunks))
    for variant in document["variants"]:
        variant["download_bytes"] = sum(document["files"][name]["size_bytes"] for name in variant["files"])
    (model_dir / manifest.NAME).write_text(json.dumps(document))


def external(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [item for item in model.graph.initializer if item.data_location == onnx.TensorProto.EXTERNAL]


def place(tensor: onnx.TensorProto, **facts: str) -> None:
    for item in tensor.external_data:
        item.value = facts.get(item.key, item.value)


def where(tensor: onnx.TensorProto, key: str) -> str:
    return next(item.value for item in tensor.external_data if item.key == key)


def overlap(model: onnx.ModelProto) -> None:
    first, second, *_ = (item for item in external(model) if where(item, "length") == str(80 * 192 * 4))
    place(second, offset=where(first, "offset"))


def take_logarithm_of_negatives(model: onnx.ModelProto) -> None:
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "finite"
    for operator, given, made in (
        ("Exp", "finite", "positive"),
        ("Neg", "positive", "negative"),
        ("Log", "negative", "logits"),
    ):
        model.graph.node.append(onnx.helper.make_node(operator, [given], [made]))


GRAPH_DEFECTS: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "location_outside": (lambda model: place(external(model)[0], location="../config.json"), "not valid ONNX"),
    "location_of_other_variant": (
        lambda model: place(external(model)[0], location="model_q4f16.onnx_data"),
        "which is no shard of this graph",
    ),
    "offset_beyond_the_end": (lambda model: place(external(model)[0], offset="99999999"), "lies outside of"),
    "wrong_length": (lambda model: place(external(model)[0], length="4"), "bytes and refers to 4"),
    "overlapping_tensors": (overlap, "overlap in model.onnx_data"),
    "unknown_operator": (lambda model: setattr(model.graph.node[3], "op_type", "Bogus"), "Bogus"),
    "unknown_input": (lambda model: setattr(model.graph.input[0], "name", "inputs"), "input_ids"),
    "values_not_finite": (take_logarithm_of_negatives, "not finite"),
}


@pytest.mark.parametrize("defect", GRAPH_DEFECTS)
def test_rejects_a_graph_with(model_dir: Path, defect: str) -> None:
    change, said = GRAPH_DEFECTS[defect]
    change_graph(model_dir, change)
    report = verify(model_dir)
    assert report.problems
    assert all(problem.startswith(f"{GRAPH}: ") for problem in report.problems)
    assert any(said in problem for problem in report.problems), report.problems
    assert "\n" not in "".join(report.problems)


def test_rejects_a_graph_that_is_no_protobuf(model_dir: Path) -> None:
    (model_dir / GRAPH).write_bytes(b"<!doctype html>")
    list_again(model_dir)
    (problem,) = verify(model_dir).problems
    assert "not valid ONNX" in problem


def test_rejects_weights_that_are_not_finite(model_dir: Path) -> None:
    path = model_dir / SHARD
    size_bytes = path.stat().st_size
    path.write_bytes(np.full(size_bytes // 4, np.nan, np.float32).tobytes())
    list_again(model_dir)
    assert any("not finite" in problem for problem in verify(model_dir).problems)


def test_rejects_a_manifest_that_describes_another_model(model_dir: Path) -> None:
    document = json.loads((model_dir / manifest.NAME).read_text())
    document["model"]["vocab_size"] = 300
    document["model"]["kv_cache"]["layers"] = 4
    (model_dir / manifest.NAME).write_text(json.dumps(document))
    problems = " ".join(verify(model_dir).problems)
    assert "expected [1, 4, 300]" in problems
    assert "4 layers" in problems
