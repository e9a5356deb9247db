"""Every decoder, run in onnxruntime, against the original implementation on tiny random checkpoints."""

from pathlib import Path

import numpy as np
import pytest

from convert.dtypes import Dtype
from convert.pipeline import ConversionReport, convert
from convert.progress import SilentProgress
from tests.families.decoders import CASES, POSITIONS, ids, save_checkpoint, stored
from tests.reference.decoder_session import DecoderSession

LEAST_COSINE = {Dtype.FP16: 0.9999, Dtype.Q8: 0.999, Dtype.Q4: 0.97, Dtype.Q4F16: 0.97}
PROMPT = 5
"""Shorter than the window, so that the steps after it cross its edge."""


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ConversionReport]:
    root = tmp_path_factory.mktemp(request.param)
    source = save_checkpoint(root / "in", request.param)
    return request.param, convert(str(source), root / "out", dtypes=list(Dtype), progress=SilentProgress())


def session(report: ConversionReport, dtype: Dtype) -> DecoderSession:
    return DecoderSession(Path(report.out_dir) / "onnx" / f"model{dtype.suffix}.onnx")


def test_fp32_matches_the_original(case: tuple[str, ConversionReport]) -> None:
    name, report = case
    logits = session(report, Dtype.FP32).run(ids())
    np.testing.assert_allclose(logits[list(POSITIONS)], stored(name)["logits"], atol=1e-4)


def test_fp32_matches_the_original_token_by_token(case: tuple[str, ConversionReport]) -> None:
    name, report = case
    decoder = session(report, Dtype.FP32)
    rows = [decoder.run(ids()[:PROMPT]), *(decoder.run([token]) for token in ids()[PROMPT:])]
    np.testing.assert_allclose(np.concatenate(rows)[list(POSITIONS)], stored(name)["logits"], atol=1e-4)


def test_reduced_precision_stays_close(case: tuple[str, ConversionReport]) -> None:
    _, report = case
    exact = session(report, Dtype.FP32).run(ids())
    for dtype, least in LEAST_COSINE.items():
        found = session(report, dtype).run(ids())
        cosine = (found * exact).sum() / (np.linalg.norm(found) * np.linalg.norm(exact))
        assert cosine >= least, dtype


def test_manifest_tells_the_cache(case: tuple[str, ConversionReport]) -> None:
    name, report = case
    config, cache = CASES[name], report.manifest.model.kv_cache
    assert cache is not None
    layers, pairs = config.get("num_hidden_layers", config.get("n_layer")), config.get("num_key_value_heads")
    assert (cache.layers, cache.kv_heads) == (layers, pairs or config["n_head"])
    past = {item.name: item.shape for item in session(report, Dtype.Q4).session.get_inputs() if "past" in item.name}
    assert past["past_key_values.0.key"][1::2] == [cache.kv_heads, cache.head_dim]
