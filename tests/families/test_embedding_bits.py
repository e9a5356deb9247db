"""Embedding tables of 4 bits: looked up and multiplied by as the blocks say, in every quantized dtype."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.dtypes import Dtype
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.quantize.round_to_nearest import quantize_blocks
from tests.families import tiny
from tests.families.test_families import IDS, cosine
from tests.reference import llama
from tests.reference.decoder_session import DecoderSession

TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def rounded(weights: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    codes, scale = quantize_blocks(weights, bits, 32)
    values = (codes.astype(np.float32) - (1 << (bits - 1))) * scale.astype(np.float32)[..., None]
    return values.reshape(len(weights), -1)[:, : weights.shape[1]]


@pytest.mark.parametrize("tied", [True, False])
def test_tables_have_the_bits_that_were_asked_for(tmp_path: Path, tied: bool) -> None:
    config = tiny.LLAMA | {"tie_word_embeddings": tied}
    weights = tiny.random_weights(tiny.llama_shapes(config))
    source = tiny.save_checkpoint(tmp_path / "in", config, weights)
    dtypes = [Dtype.Q8, Dtype.Q4F16]
    report = convert(str(source), tmp_path / "out", dtypes=dtypes, embedding_bits=4, progress=SilentProgress())
    assert [variant.embedding_bits for variant in report.manifest.variants] == [4, 4]

    def logits(linear_bits: int) -> Any:
        def weight(name: str) -> NDArray[np.float64]:
            bits = 4 if name in TABLES else linear_bits
            return (rounded(weights[name], bits) if weights[name].ndim == 2 else weights[name]).astype(np.float64)

        return llama.logits(weight, config, IDS)

    for dtype, linear_bits, least in ((Dtype.Q8, 8, 0.99999), (Dtype.Q4F16, 4, 0.9999)):
        found = DecoderSession(tmp_path / f"out/onnx/model{dtype.suffix}.onnx").run(IDS.tolist())
        assert cosine(found, logits(linear_bits)) >= least


def test_tables_of_4_bits_are_half_as_big(tmp_path: Path) -> None:
    config = tiny.LLAMA | {"tie_word_embeddings": True}
    source = tiny.save_checkpoint(tmp_path / "in", config, tiny.random_weights(tiny.llama_shapes(config)))
    sizes = {}
    for bits in (4, 8):
        out = tmp_path / f"out{bits}"
        report = convert(str(source), out, dtypes=[Dtype.Q4], embedding_bits=bits, progress=SilentProgress())
        sizes[bits] = report.manifest.variants[0].weight_bytes
    blocks = config["vocab_size"] * 3  # of 32 weights, in rows of 80
    assert sizes[8] - sizes[4] == blocks * 16
