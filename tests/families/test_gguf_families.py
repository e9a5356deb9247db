"""A family's GGUF file, as llama.cpp writes it, gives the model that its safetensors checkpoint gives."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.dtypes import Dtype
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families import decoders, tiny
from tests.families.test_families import cosine
from tests.gguf_files import write_gguf
from tests.reference.decoder_session import DecoderSession

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
EXPRESSIBLE: dict[str, dict[str, Any]] = {
    "gemma": {},
    "gemma2": {"query_pre_attn_scalar": 32},
    "gemma3_text": {"query_pre_attn_scalar": 32},
    "gpt2": {"scale_attn_by_inverse_layer_idx": False},
    "llama_scaled": {"rope_scaling": LLAMA3, "rope_theta": 500000.0},
    "mistral": {"sliding_window": None},
    "phi3": {},
    "phi3_longrope": {},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {},
    "smollm3": {"no_rope_layers": None, "no_rope_layer_interval": 4, "rope_theta": 2e6},
}
"""By case: what has to be said otherwise, because GGUF cannot say it or llama.cpp takes it for granted."""


def logits(source: Path, out: Path, dtype: Dtype = Dtype.FP32) -> NDArray[Any]:
    convert(str(source), out, dtypes=[dtype], progress=SilentProgress())
    return DecoderSession(out / "onnx" / f"model{dtype.suffix}.onnx").run(decoders.ids())


def test_every_case_has_a_row() -> None:
    assert set(EXPRESSIBLE) == set(decoders.CASES)


@pytest.mark.parametrize("case", EXPRESSIBLE)
def test_logits_are_those_of_the_safetensors_checkpoint(tmp_path: Path, case: str) -> None:
    config = decoders.CASES[case] | EXPRESSIBLE[case]
    weights = tiny.random_weights(decoders.shapes(case))
    safetensors = tiny.save_checkpoint(tmp_path / "in", config, weights)
    file = write_gguf(tmp_path / "model.gguf", config, weights)
    expected = logits(safetensors, tmp_path / "from_safetensors")
    np.testing.assert_allclose(logits(file, tmp_path / "from_gguf"), expected, atol=2e-5)
    written = json.loads((tmp_path / "from_gguf" / "config.json").read_text())
    assert written["model_type"] == ("llama" if case == "mistral" else config["model_type"])


@pytest.mark.parametrize("matrix_type", ["Q4_0", "Q4_1", "Q8_0"])
def test_blocks_give_the_logits_of_what_they_say(tmp_path: Path, matrix_type: str) -> None:
    config = decoders.CASES["qwen3"] | {"hidden_size": 96, "tie_word_embeddings": True}
    shapes = {
        name: tuple(96 if size == 80 else size for size in shape)
        for name, shape in decoders.shapes("qwen3").items()
        if name != "lm_head.weight"
    }
    file = write_gguf(tmp_path / "model.gguf", config, tiny.random_weights(shapes), matrix_type)
    exact = logits(file, tmp_path / "fp32")
    # A tied table of Q4_1 is kept exactly only when embeddings have 4 bits.
    dtype, bits = (Dtype.Q8, 8) if matrix_type == "Q8_0" else (Dtype.Q4, 4)
    report = convert(str(file), tmp_path / "out", dtypes=[dtype], embedding_bits=bits, progress=SilentProgress())
    assert report.manifest.variants[0].lossless_import
    found = DecoderSession(tmp_path / f"out/onnx/model{dtype.suffix}.onnx").run(decoders.ids())
    assert cosine(found, exact) >= 0.99999


K_TYPES = {
    "Q4_K": (Dtype.Q4, {"quantized": 3, "requantized": 1, "rounded_scales": 18}),
    "Q5_K": (Dtype.Q8, {"quantized": 3, "requantized": 19}),
    "Q6_K": (Dtype.Q8, {"quantized": 3, "requantized": 19}),
}
"""The outputs of attention are 192 wide, so they are stored as floats; the embedding has 8 bits."""


@pytest.mark.parametrize("matrix_type", K_TYPES)
def test_blocks_of_256_are_kept_or_rounded_anew_and_the_manifest_says_which(tmp_path: Path, matrix_type: str) -> None:
    dtype, imports = K_TYPES[matrix_type]
    sizes = {80: 256, 160: 512}
    config = decoders.CASES["qwen3"] | {"hidden_size": 256, "intermediate_size": 512, "tie_word_embeddings": True}
    shapes = {
        name: tuple(sizes.get(size, size) for size in shape)
        for name, shape in decoders.shapes("qwen3").items()
        if name != "lm_head.weight"
    }
    file = write_gguf(tmp_path / "model.gguf", config, tiny.random_weights(shapes), matrix_type)
    exact = logits(file, tmp_path / "fp32")
    report = convert(str(file), tmp_path / "out", dtypes=[dtype], progress=SilentProgress())
    assert report.manifest.variants[0].imports == imports
    found = DecoderSession(tmp_path / f"out/onnx/model{dtype.suffix}.onnx").run(decoders.ids())
    assert cosine(found, exact) >= 0.999
