"""Calibration: the moments are those of what the matrices are multiplied with, and GPTQ makes good use of them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convert import calibration, manifest
from convert.calibration import calibrated
from convert.dtypes import Dtype
from convert.errors import FeatherweightError
from convert.evaluation.decoders import agreement
from convert.families import find_family
from convert.families.blocks.context import BuildContext
from convert.graph.builder import GraphBuilder
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.quantize.recipe import Method, parse_recipe
from convert.sources import resolve
from convert.verification import verify_model
from tests import model_directories
from tests.families import encoders, tiny
from tests.model_directories import WORDS

NUMBERS = np.random.default_rng(9).integers(0, len(WORDS), 1000)
TEXT = " ".join(WORDS[number] for number in NUMBERS)
OTHER_TEXT = " ".join(WORDS[number] for number in np.random.default_rng(10).integers(0, len(WORDS), 1000))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama checkpoint whose embedding has directions that matter far more than others, as real ones have."""
    root = tmp_path_factory.mktemp("calibration")
    weights = tiny.random_weights(tiny.llama_shapes(tiny.LLAMA))
    name = "model.embed_tokens.weight"
    random = np.random.default_rng(11)
    mix = random.standard_normal((weights[name].shape[1],) * 2) * np.exp(random.standard_normal(weights[name].shape[1]))
    weights[name] = (weights[name] @ mix).astype(np.float32)
    folder = tiny.save_checkpoint(root / "checkpoint", tiny.LLAMA, weights)
    model_directories.save_tokenizer(folder, marks=False)
    return folder


def first_inputs(source: Path) -> NDArray[np.float64]:
    """What the projections of the first layer are multiplied with: the normalized embeddings of the text."""
    tensors = resolve(str(source), revision=None, progress=SilentProgress()).tensors
    rows = tensors["model.embed_tokens.weight"].read().astype(np.float64)[NUMBERS + 4]
    rows /= np.sqrt(np.square(rows).mean(axis=1, keepdims=True) + tiny.LLAMA["rms_norm_eps"])
    return rows * tensors["model.layers.0.input_layernorm.weight"].read()


@pytest.mark.parametrize("group_columns", [2048, 32])
def test_moments_are_those_of_the_inputs(source: Path, monkeypatch: pytest.MonkeyPatch, group_columns: int) -> None:
    monkeypatch.setattr(calibration, "GROUP_COLUMNS", group_columns)
    monkeypatch.setattr(calibration, "PASS_BYTES", 8 * 160 * 160)  # several passes
    checkpoint = resolve(str(source), revision=None, progress=SilentProgress())
    context = BuildContext(GraphBuilder("model"), checkpoint, Dtype.FP32, 32, 8)
    find_family("llama").build(context, "text-generation")
    inputs = first_inputs(source)
    with calibrated(context, 128, TEXT, SilentProgress()) as found:
        for name in ("q_proj", "v_proj"):
            moments = found.moments(f"model.layers.0.self_attn.{name}.weight")
            for number, group in enumerate(moments):
                part = inputs[:, number * group_columns : (number + 1) * group_columns]
                np.testing.assert_allclose(group, part.T @ part / len(part), rtol=1e-3, atol=1e-4)
            assert sum(map(len, moments)) == inputs.shape[1]
        assert next(len(group) for group in found.moments("model.layers.2.mlp.down_proj.weight")) == min(
            160, group_columns
        )
        assert "model.embed_tokens.weight" not in found


def test_gptq_stays_nearer_to_the_source(source: Path, tmp_path: Path) -> None:
    distances = {}
    for method in Method:
        text = TEXT if method is Method.GPTQ else None
        out = tmp_path / method
        convert(
            str(source),
            out,
            dtypes=[Dtype.FP32, Dtype.Q4],
            method=method,
            calibration_text=text,
            progress=SilentProgress(),
        )
        distances[method] = agreement(out, "q4", (out, "fp32"), OTHER_TEXT).mean_kl_nats
        assert verify_model(out, SilentProgress()).problems == []
    assert distances[Method.GPTQ] < 0.8 * distances[Method.RTN]
    assert distances[Method.GPTQ] < 0.8 * distances[Method.MSE]


def test_the_same_text_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        convert(
            str(source),
            tmp_path / name,
            dtypes=[Dtype.Q4],
            model_id="same",
            method=Method.GPTQ,
            calibration_text=TEXT,
            progress=SilentProgress(),
        )
        made.append(manifest.revision(tmp_path / name))
    assert made[0] == made[1]


@pytest.mark.parametrize("model_type", ["bert", "albert"])  # token types; one matrix with the inputs of every layer
def test_encoders_are_calibrated_too(tmp_path: Path, model_type: str) -> None:
    folder = encoders.save_checkpoint(tmp_path / "checkpoint", model_type)
    model_directories.save_tokenizer(folder, marks=True)
    out = tmp_path / "gptq"
    convert(
        str(folder),
        out,
        dtypes=[Dtype.Q4],
        task="feature-extraction",
        method=Method.GPTQ,
        calibration_text=" ".join(WORDS[:60] * 5),
        progress=SilentProgress(),
    )
    assert verify_model(out, SilentProgress()).problems == []


def test_a_recipe_gives_each_matrix_its_format(source: Path, tmp_path: Path) -> None:
    rules = {
        "*": {"block_size": 16},
        "*.down_proj.weight": {"bits": 8, "method": "mse"},
        "model.layers.1.self_attn.*": {"bits": "float"},
        "model.embed_tokens.weight": {"bits": 4, "block_size": 32},
    }
    recipe = parse_recipe(rules, "recipe")
    report = convert(str(source), tmp_path / "mixed", dtypes=[Dtype.Q4], recipe=recipe, progress=SilentProgress())
    assert verify_model(tmp_path / "mixed", SilentProgress()).problems == []
    costs = report.manifest.variant("q4").cost.per_token
    assert costs["linear_8bit"].macs > 0
    assert costs["linear_float"].macs > 0


@pytest.mark.parametrize(("text", "said"), [(None, "give --calibration FILE"), ("w1", "too few"), ("", "too few")])
def test_without_a_text_nothing_is_left(source: Path, tmp_path: Path, text: str | None, said: str) -> None:
    with pytest.raises(FeatherweightError, match=said):
        convert(
            str(source),
            tmp_path / "out",
            dtypes=[Dtype.Q4],
            method=Method.GPTQ,
            calibration_text=text,
            progress=SilentProgress(),
        )
    assert list(tmp_path.iterdir()) == []
