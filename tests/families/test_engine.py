"""Every family in the project's own engine, against onnxruntime on the same files."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from convert.dtypes import Dtype
from convert.families.blocks.heads import TASKS
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families import decoders, encoders
from tests.kernels.native_kernels import stored_zero_points
from tests.reference.decoder_session import DecoderSession
from tests.reference.encoder_decoder_session import EncoderDecoderSession
from wasm_kernels.build import ROOT, WASM_BUILDS

COMPARE = ROOT / "tests" / "js" / "engine" / "compare.mjs"
PROMPT = 5
"""Shorter than the window, so that the steps after it cross its edge."""
# Largest relative distance of outputs: with float weights, which become 16-bit codes; with quantized weights, which
# meet activations of 16 bits; with the default cache of float16; where onnxruntime computes in float16.
TOLERANCE = {"fp32": 3e-4, "q8": 2e-3, "q4": 2e-3, "q4 int16": 1e-2, "q4 embedding": 2e-3, "q4f16": 5e-3}
DTYPES = [Dtype.FP32, Dtype.Q8, Dtype.Q4, Dtype.Q4F16]
ENCODERS = ("albert", "bert", "distilbert", "roberta")
ENCODER_DECODERS = ("bart", "bart_scaled", "t5", "t5_gated")
TEXT2TEXT = "text2text-generation"
LONG_TEXT, LONG_ANSWER = 20, 4


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What compare.mjs answers for all jobs."""
    if not all((ROOT / "static" / "wasm" / f"{build.name}.wasm").exists() for build in WASM_BUILDS):
        pytest.skip("the kernels are not built; run `python -m wasm_kernels.build`")
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    root = tmp_path_factory.mktemp("engine")
    jobs = [job for name in decoders.CASES for job in decoder_jobs(root / name, name)]
    jobs += [job for name in ENCODERS for task in TASKS for job in encoder_jobs(root / name / task, name, task)]
    jobs += [job for name in ENCODER_DECODERS for job in answer_jobs(root / name, name)]
    jobs += zero_point_jobs(root / "zero points")
    (root / "jobs.json").write_text(json.dumps(jobs))
    answer = subprocess.run([node, str(COMPARE), str(root / "jobs.json")], check=True, stdout=subprocess.PIPE)
    content: dict[str, Any] = json.loads(answer.stdout)
    for job in jobs:
        variants = json.loads(Path(job["manifest"]).read_text())["variants"]
        variant = next(item for item in variants if item["dtype"] == job["dtype"])
        content[job["name"]]["promised"] = variant["cost"]
        content[job["name"]]["promised text"] = (variant["encoder"] or variant)["cost"]
    return content


def decoder_jobs(root: Path, name: str) -> list[dict[str, Any]]:
    """One per dtype of a decoder, and one with a cache of 16-bit codes."""
    source = str(decoders.save_checkpoint(root / "in", name))
    convert(source, root / "out", dtypes=DTYPES, progress=SilentProgress())
    convert(source, root / "out4", dtypes=[Dtype.Q4], embedding_bits=4, progress=SilentProgress())
    graphs = {str(dtype): f"out/onnx/model{dtype.suffix}.onnx" for dtype in DTYPES}
    graphs |= {"q4 int16": graphs["q4"], "q4 embedding": "out4/onnx/model_q4.onnx"}
    jobs = []
    for kind, graph in graphs.items():
        logits = DecoderSession(root / graph).run(decoders.ids()).astype(np.float32)
        logits.tofile(root / f"{kind}.f32")
        job = {
            "name": f"{name} {kind}",
            "graph": str(root / graph),
            "ids": decoders.ids(),
            "prompt": PROMPT,
            "kvDtype": "int16" if "int16" in kind else "fp32",
            "vocabulary": logits.shape[1],
            "logits": str(root / f"{kind}.f32"),
            "manifest": str((root / graph).parent.parent / "manifest.json"),
            "dtype": kind.split()[0],
        }
        jobs.append(job)
    return jobs


def encoder_jobs(root: Path, name: str, task: str, block_size: int = 32) -> list[dict[str, Any]]:
    """One per dtype; padding, which the engine leaves out, is 0."""
    source = encoders.save_checkpoint(root / "in", name)
    dtypes = (Dtype.FP32, Dtype.Q8, Dtype.Q4)
    convert(str(source), root / "out", dtypes=list(dtypes), task=task, block_size=block_size, progress=SilentProgress())
    inputs = encoders.arrays(encoders.original(name)["tasks"][task]["inputs"])
    padding = inputs["attention_mask"] == 0
    batch = {"inputIds": inputs["input_ids"].tolist(), "attentionMask": inputs["attention_mask"].tolist()}
    if "token_type_ids" in inputs:
        batch["tokenTypeIds"] = inputs["token_type_ids"].tolist()
    jobs = []
    for dtype in dtypes:
        graph = root / "out" / "onnx" / f"model{dtype.suffix}.onnx"
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        outputs = {}
        for item, value in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            if task != "text-classification":
                value[padding] = 0
            value.tofile(root / f"{dtype} {item.name}.f32")
            outputs[item.name] = {"dims": value.shape, "data": str(root / f"{dtype} {item.name}.f32")}
        job = {"name": f"{name} {task} {dtype}", "graph": str(graph), "batch": batch, "outputs": outputs}
        jobs.append(job | {"manifest": str(root / "out" / "manifest.json"), "dtype": str(dtype)})
    return jobs


def answer_jobs(root: Path, name: str) -> list[dict[str, Any]]:
    """One per dtype of an encoder-decoder."""
    source = encoders.save_checkpoint(root / "in", name)
    convert(str(source), root / "out", dtypes=DTYPES, progress=SilentProgress())
    inputs = encoders.arrays(encoders.original(name)["tasks"][TEXT2TEXT]["inputs"])
    text, ids = inputs["input_ids"][:1], inputs["decoder_input_ids"][:1]
    if name.startswith("t5"):  # which has no positions that could end: over distances that share a bucket, and pages
        text, ids = np.tile(text, LONG_TEXT), np.tile(ids, LONG_ANSWER)
    jobs = []
    for dtype in DTYPES:
        folder = root / "out" / "onnx"
        session = EncoderDecoderSession(folder, dtype.suffix)
        session.start(text, np.ones_like(text))
        logits = session.run(ids)[0].astype(np.float32)
        logits.tofile(root / f"{dtype}.f32")
        job = {
            "name": f"{name} {dtype}",
            "graph": str(folder / f"decoder_model_merged{dtype.suffix}.onnx"),
            "encoder": str(folder / f"encoder_model{dtype.suffix}.onnx"),
            "text": text[0].tolist(),
            "ids": ids[0].tolist(),
            "kvDtype": "fp32",
            "vocabulary": logits.shape[1],
            "logits": str(root / f"{dtype}.f32"),
            "manifest": str(root / "out" / "manifest.json"),
            "dtype": str(dtype),
        }
        jobs.append(job)
    return jobs


def zero_point_jobs(root: Path) -> list[dict[str, Any]]:
    """One per bits: an encoder with wide blocks, random zero points and biases inside the product."""
    jobs = []
    for job in encoder_jobs(root, "bert", "feature-extraction", block_size=64):
        dtype = job["name"].rsplit(" ", 1)[1]
        if dtype == "fp32":
            continue
        graph = Path(job["graph"])
        with_zero_points_and_bias(graph, graph.with_name(f"points_{dtype}.onnx"))
        inputs = encoders.arrays(encoders.original("bert")["tasks"]["feature-extraction"]["inputs"])
        session = onnxruntime.InferenceSession(
            graph.with_name(f"points_{dtype}.onnx"), providers=["CPUExecutionProvider"]
        )
        for item, value in zip(session.get_outputs(), session.run(None, inputs), strict=True):
            value[inputs["attention_mask"] == 0] = 0
            value.tofile(job["outputs"][item.name]["data"])
        jobs.append(job | {"name": f"zero points {dtype}", "graph": str(graph.with_name(f"points_{dtype}.onnx"))})
    return jobs


def with_zero_points_and_bias(graph: Path, target: Path) -> None:
    """Write the graph anew, over the same external data, with all inputs of MatMulNBits that it left out."""
    random = np.random.default_rng(3)
    model = onnx.load(graph, load_external_data=False)
    summed = {node.input[0] for node in model.graph.node if node.op_type == "BiasGelu"}  # these have a bias already
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        shape = {item.name: item.i for item in node.attribute}
        blocks = -(-shape["K"] // shape["block_size"])
        middle = 1 << (shape["bits"] - 1)
        points = random.integers(middle - 2, middle + 3, (shape["N"], blocks), dtype=np.uint8)
        stored = stored_zero_points(points, shape["bits"]).ravel()
        model.graph.initializer.append(onnx.numpy_helper.from_array(stored, f"{node.input[1]}.points"))
        node.input.append(f"{node.input[1]}.points")
        if node.output[0] in summed:
            continue
        bias = random.standard_normal(shape["N"], dtype=np.float32) / 8
        model.graph.initializer.append(onnx.numpy_helper.from_array(bias, f"{node.input[1]}.bias"))
        node.input.extend(["", f"{node.input[1]}.bias"])
    onnx.save(model, target)


def check(answer: dict[str, Any], tolerance: float) -> None:
    assert "error" not in answer, answer["error"]
    for build, distance in answer["distances"].items():
        assert distance < tolerance, build


@pytest.mark.parametrize("name", decoders.CASES)
@pytest.mark.parametrize("kind", TOLERANCE)
def test_decoders_agree_with_onnxruntime(found: dict[str, Any], name: str, kind: str) -> None:
    check(found[f"{name} {kind}"], TOLERANCE[kind])


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["fp32", "q8", "q4"])
def test_encoders_agree_with_onnxruntime(found: dict[str, Any], name: str, task: str, kind: str) -> None:
    check(found[f"{name} {task} {kind}"], TOLERANCE[kind])


@pytest.mark.parametrize("name", ENCODER_DECODERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_encoder_decoders_agree_with_onnxruntime(found: dict[str, Any], name: str, dtype: Dtype) -> None:
    check(found[f"{name} {dtype}"], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["q8", "q4"])
def test_zero_points_and_inner_biases_agree_with_onnxruntime(found: dict[str, Any], dtype: str) -> None:
    check(found[f"zero points {dtype}"], TOLERANCE[dtype])


def compare_cost(of_manifest: dict[str, Any], of_plan: dict[str, Any]) -> None:
    """The manifest's cost model, which a device is judged by before the download, says what the engine's plan does."""
    promised, planned = of_manifest["per_token"], of_plan["perToken"]
    assert promised.keys() == planned.keys()
    for name, cost in promised.items():
        if name == "elementwise":
            assert cost["bytes"] == pytest.approx(planned[name]["bytes"], rel=0.1)
        else:
            assert cost == planned[name], name
    assert of_manifest["steps"] == pytest.approx(of_plan["steps"], abs=2)


@pytest.mark.parametrize("name", decoders.CASES)
@pytest.mark.parametrize("kind", ["fp32", "q4 int16"])
def test_a_decoder_costs_what_its_manifest_says(found: dict[str, Any], name: str, kind: str) -> None:
    answer = found[f"{name} {kind}"]
    compare_cost(answer["promised"], answer["cost"])


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["fp32", "q8", "q4"])
def test_an_encoder_costs_what_its_manifest_says(found: dict[str, Any], name: str, task: str, kind: str) -> None:
    answer = found[f"{name} {task} {kind}"]
    compare_cost(answer["promised"], answer["cost"])


@pytest.mark.parametrize("name", ENCODER_DECODERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_encoder_decoder_costs_what_its_manifest_says(found: dict[str, Any], name: str, dtype: Dtype) -> None:
    answer = found[f"{name} {dtype}"]
    compare_cost(answer["promised"], answer["cost"])  # what it stores of its text is counted with the answer
    compare_cost(answer["promised text"], answer["text"])
