"""Every family's graph, run in onnxruntime, against its plain numpy reference on tiny random checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from convert.dtypes import Dtype
from convert.errors import BadCheckpoint, UnsupportedModel
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families import tiny
from tests.reference import distilbert, llama
from tests.reference.decoder_session import DecoderSession

IDS = np.random.default_rng(3).integers(0, 301, 23)


def cosine(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Lowest cosine over rows."""
    norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    return float((np.sum(left * right, axis=-1) / norms).min())


def converted(source: Path, out: Path, *dtypes: Dtype, **options: Any) -> Path:
    convert(str(source), out, dtypes=dtypes, progress=SilentProgress(), **options)
    return out / "onnx"


@pytest.fixture(scope="module", params=["tied", "untied"])
def llama_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    config = tiny.LLAMA | {"tie_word_embeddings": request.param == "tied"}
    weights = tiny.random_weights(tiny.llama_shapes(config))
    root = tmp_path_factory.mktemp("llama")
    graphs = converted(tiny.save_checkpoint(root / "in", config, weights), root / "out", *Dtype)
    return graphs, llama.logits(lambda name: weights[name].astype(np.float64), config, IDS)


def test_llama_fp32_matches_reference(llama_case: tuple[Path, Any]) -> None:
    graphs, expected = llama_case
    logits = DecoderSession(graphs / "model.onnx").run(IDS.tolist())
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "least"), [(Dtype.FP16, 0.9999), (Dtype.Q8, 0.999), (Dtype.Q4, 0.97), (Dtype.Q4F16, 0.97)]
)
def test_llama_reduced_precision_stays_close(llama_case: tuple[Path, Any], dtype: Dtype, least: float) -> None:
    graphs, expected = llama_case
    logits = DecoderSession(graphs / f"model{dtype.suffix}.onnx").run(IDS.tolist())
    assert cosine(logits, expected) >= least


@pytest.mark.parametrize("dtype", [Dtype.FP32, Dtype.Q4])
def test_llama_kv_cache_continues_the_sequence(llama_case: tuple[Path, Any], dtype: Dtype) -> None:
    session = DecoderSession(llama_case[0] / f"model{dtype.suffix}.onnx")
    whole = session.run(IDS.tolist())
    session.reset()
    first = session.run(IDS[:9].tolist())
    steps = [session.run([token]) for token in IDS[9:].tolist()]
    np.testing.assert_allclose(np.concatenate([first, *steps]), whole, atol=1e-4)


def test_llama_keeps_only_the_last_logits_when_asked(llama_case: tuple[Path, Any]) -> None:
    session = DecoderSession(llama_case[0] / "model.onnx")
    whole = session.run(IDS.tolist())
    session.reset()
    last = session.run(IDS.tolist(), keep=2)
    assert last.shape[0] == 2
    np.testing.assert_allclose(last, whole[-2:], atol=1e-5)


def encoder_inputs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ids = np.stack([IDS, IDS[::-1]])
    mask = np.ones_like(ids)
    mask[1, 15:] = 0
    return ids, mask


@pytest.fixture(scope="module")
def distilbert_case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    config = tiny.DISTILBERT
    weights = tiny.random_weights(tiny.distilbert_shapes(config))
    root = tmp_path_factory.mktemp("distilbert")
    graphs = converted(tiny.save_checkpoint(root / "in", config, weights), root / "out", *Dtype)
    ids, mask = encoder_inputs()
    return graphs, distilbert.hidden_state(lambda name: weights[name].astype(np.float64), config, ids, mask)


def run_encoder(path: Path) -> Any:
    ids, mask = encoder_inputs()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0], mask.astype(bool)


def test_distilbert_fp32_matches_reference(distilbert_case: tuple[Path, Any]) -> None:
    graphs, expected = distilbert_case
    hidden, mask = run_encoder(graphs / "model.onnx")
    np.testing.assert_allclose(hidden[mask], expected[mask], atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "least"), [(Dtype.FP16, 0.9999), (Dtype.Q8, 0.999), (Dtype.Q4, 0.97), (Dtype.Q4F16, 0.97)]
)
def test_distilbert_reduced_precision_stays_close(
    distilbert_case: tuple[Path, Any], dtype: Dtype, least: float
) -> None:
    graphs, expected = distilbert_case
    hidden, mask = run_encoder(graphs / f"model{dtype.suffix}.onnx")
    assert cosine(hidden[mask], expected[mask]) >= least


@pytest.mark.parametrize("block_size", [16, 64, 128])
def test_width_that_is_no_multiple_of_the_block_is_padded(tmp_path: Path, block_size: int) -> None:
    config = tiny.DISTILBERT
    weights = tiny.random_weights(tiny.distilbert_shapes(config))
    source = tiny.save_checkpoint(tmp_path / "in", config, weights)
    graphs = converted(source, tmp_path / "out", Dtype.Q8, block_size=block_size)
    ids, mask = encoder_inputs()
    expected = distilbert.hidden_state(lambda name: weights[name].astype(np.float64), config, ids, mask)
    hidden, kept = run_encoder(graphs / "model_quantized.onnx")
    assert cosine(hidden[kept], expected[kept]) >= 0.999


def test_classification_head_gives_logits_per_label(tmp_path: Path) -> None:
    config = tiny.DISTILBERT | {
        "architectures": ["DistilBertForSequenceClassification"],
        "id2label": {"0": "NEGATIVE", "1": "NEUTRAL", "2": "POSITIVE"},
    }
    dim = config["dim"]
    body = tiny.random_weights(tiny.distilbert_shapes(config))
    head = tiny.random_weights(
        {
            "pre_classifier.weight": (dim, dim),
            "pre_classifier.bias": (dim,),
            "classifier.weight": (3, dim),
            "classifier.bias": (3,),
        }
    )
    weights = {f"distilbert.{name}": value for name, value in body.items()} | head
    source = tiny.save_checkpoint(tmp_path / "in", config, weights)
    report = convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32], progress=SilentProgress())
    assert report.manifest.model.task == "text-classification"
    assert report.manifest.model.labels == ("NEGATIVE", "NEUTRAL", "POSITIVE")
    ids, mask = encoder_inputs()
    hidden = distilbert.hidden_state(lambda name: body[name].astype(np.float64), config, ids, mask)[:, 0]
    pooled = np.maximum(hidden @ head["pre_classifier.weight"].T + head["pre_classifier.bias"], 0)
    expected = pooled @ head["classifier.weight"].T + head["classifier.bias"]
    logits, _ = run_encoder(tmp_path / "out/onnx/model.onnx")
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def broken(tmp_path: Path, change: dict[str, Any], weights: dict[str, Any] | None = None) -> str:
    config = tiny.LLAMA | {"tie_word_embeddings": True} | change
    weights = weights or tiny.random_weights(tiny.llama_shapes(tiny.LLAMA | {"tie_word_embeddings": True}))
    return str(tiny.save_checkpoint(tmp_path / "in", config, weights))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model_type": "mamba"}, UnsupportedModel, "mamba"),
        ({"hidden_act": "relu"}, UnsupportedModel, "hidden_act"),
        ({"rope_scaling": {"rope_type": "yarn"}}, UnsupportedModel, "rope_type"),
        ({"num_hidden_layers": 4}, BadCheckpoint, r"model\.layers\.3.*missing"),
        ({"intermediate_size": 161}, BadCheckpoint, "shape"),
    ],
)
def test_rejects_what_the_graph_cannot_hold(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        converted(Path(broken(tmp_path, change)), tmp_path / "out", Dtype.Q4)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("name", ["mlp.up_proj", "input_layernorm"])
def test_rejects_weights_that_are_no_numbers(tmp_path: Path, name: str, dtype: Dtype, value: float) -> None:
    weights = tiny.random_weights(tiny.llama_shapes(tiny.LLAMA | {"tie_word_embeddings": True}))
    weights[f"model.layers.1.{name}.weight"].flat[5] = value
    with pytest.raises(BadCheckpoint, match=rf"model\.layers\.1\.{name}.*NaN or infinite.*--allow-nonfinite"):
        converted(Path(broken(tmp_path, {}, weights)), tmp_path / "out", dtype)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("dtype", Dtype)
def test_takes_weights_that_are_no_numbers_as_zero_when_asked(tmp_path: Path, dtype: Dtype) -> None:
    weights = tiny.random_weights(tiny.llama_shapes(tiny.LLAMA | {"tie_word_embeddings": True}))
    name = "model.layers.1.mlp.up_proj.weight"
    files = []
    for place, value in (("one", np.nan), ("other", 0.0)):
        weights[name][3, 5] = value
        source = broken(tmp_path / place, {}, weights)
        report = convert(
            source, tmp_path / place / "out", dtypes=[dtype], allow_nonfinite=True, progress=SilentProgress()
        )
        assert report.nonfinite == ((name,) if place == "one" else ())
        files.append([report.manifest.files[shard].sha256 for shard in report.manifest.variants[0].shards])
    assert files[0] == files[1]


def test_rejects_a_weight_that_float16_cannot_hold(tmp_path: Path) -> None:
    weights = tiny.random_weights(tiny.llama_shapes(tiny.LLAMA | {"tie_word_embeddings": True}))
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = 1e6
    with pytest.raises(BadCheckpoint, match=r"up_proj.*float16.*--dtype fp32"):
        converted(Path(broken(tmp_path, {}, weights)), tmp_path / "out", Dtype.FP16)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_rejects_integer_weights(tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(tiny.random_weights(tiny.llama_shapes(tiny.LLAMA | {"tie_word_embeddings": True})))
    weights["model.layers.1.mlp.up_proj.weight"] = weights["model.layers.1.mlp.up_proj.weight"].astype(np.int32)
    with pytest.raises(BadCheckpoint, match=r"up_proj.*I32"):
        converted(Path(broken(tmp_path, {}, weights)), tmp_path / "out", Dtype.Q4)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
