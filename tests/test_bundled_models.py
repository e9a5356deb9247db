"""Real weights: what the converter makes of the bundled models equals the original weights run in numpy."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from convert.checkpoint.checkpoint import Checkpoint
from convert.evaluation.decoders import perplexity
from tests.conftest import DATA
from tests.reference import distilbert, llama
from tests.reference.decoder_session import DecoderSession

REFERENCE = json.loads((DATA / "smollm2_reference.json").read_text())["results"]
ENGLISH = (DATA / "english.txt").read_text()
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "A man is eating food.",
    "Someone is having a meal",
    "Stock markets fell sharply on Tuesday as investors worried about inflation and interest rates. " * 3,
]
LEAST_MARGIN = 0.25


@pytest.mark.parametrize("name", ["model.onnx", "model_q4.onnx"])
def test_smollm2_greedy_tokens_equal_the_reference(smollm2: Path, name: str) -> None:
    session = DecoderSession(smollm2 / "onnx" / name)
    for case in REFERENCE:
        session.reset()
        tokens, _ = session.greedy(case["prompt_token_ids"], len(case["greedy_token_ids"]))
        margins = case["greedy_top1_top2_margin"]
        certain = next((step for step, margin in enumerate(margins) if margin < LEAST_MARGIN), len(margins))
        assert tokens[:certain] == case["greedy_token_ids"][:certain]


@pytest.mark.parametrize("name", ["model.onnx", "model_q4.onnx"])
def test_smollm2_logits_equal_the_stored_reference(smollm2: Path, name: str) -> None:
    session = DecoderSession(smollm2 / "onnx" / name)
    for case in REFERENCE:
        session.reset()
        logits = session.run(case["prompt_token_ids"], keep=1)[-1]
        for token, expected in case["last_prompt_logits_top20"]:
            assert logits[token] == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("name", ["model.onnx", "model_q4.onnx"])
def test_smollm2_teacher_forced_logits_equal_the_original_weights(
    smollm2: Path, smollm2_checkpoint: Checkpoint, name: str
) -> None:
    ids = Tokenizer.from_file(str(smollm2 / "tokenizer.json")).encode(ENGLISH).ids[:96]
    expected = llama.logits(
        lambda tensor: smollm2_checkpoint.tensors[tensor].read(), smollm2_checkpoint.config, np.array(ids)
    )
    logits = DecoderSession(smollm2 / "onnx" / name).run(ids)
    np.testing.assert_allclose(logits, expected, atol=1e-2)


def test_smollm2_q4_keeps_the_perplexity_of_its_source(smollm2: Path) -> None:
    exact, quantized = (perplexity(smollm2, dtype, ENGLISH, max_tokens=4096) for dtype in ("fp32", "q4"))
    assert exact.tokens >= 4000
    assert quantized.perplexity == pytest.approx(exact.perplexity, rel=1e-3)


def test_smollm2_tokenizer_gives_the_reference_ids(smollm2: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    for case in REFERENCE:
        assert tokenizer.encode(case["prompt"], add_special_tokens=False).ids == case["prompt_token_ids"]


def embed(hidden: Any, mask: Any) -> Any:
    pooled = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)


@pytest.mark.parametrize(("name", "least"), [("model.onnx", 0.9999), ("model_quantized.onnx", 0.999)])
def test_minilm_embeddings_equal_the_original_weights(
    minilm: Path, minilm_checkpoint: Checkpoint, name: str, least: float
) -> None:
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    ids = np.array([item.ids for item in encoded])
    mask = np.array([item.attention_mask for item in encoded])
    weights = minilm_checkpoint.tensors
    expected = embed(
        distilbert.hidden_state(
            lambda tensor: weights[tensor].read().astype(np.float64), minilm_checkpoint.config, ids, mask
        ),
        mask,
    )
    session = onnxruntime.InferenceSession(minilm / "onnx" / name, providers=["CPUExecutionProvider"])
    found = embed(session.run(None, {"input_ids": ids, "attention_mask": mask})[0], mask)
    assert (found * expected).sum(axis=-1).min() >= least


def test_gguf_blocks_go_in_losslessly(smollm2: Path) -> None:
    manifest = json.loads((smollm2 / "manifest.json").read_text())
    lossless = {item["dtype"]: item["lossless_import"] for item in manifest["variants"]}
    assert lossless == {"fp32": False, "q4": True, "q8": False}


def test_conversion_is_reproducible_to_the_byte(minilm: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "convert",
        "convert",
        "bundled:minilm-distilbert",
        str(tmp_path / "minilm-distilbert"),
    ]
    subprocess.run([*command, "--dtype", "fp32", "--dtype", "q8"], check=True, capture_output=True)
    names = sorted(str(path.relative_to(minilm)) for path in minilm.rglob("*") if path.is_file())
    again = tmp_path / "minilm-distilbert"
    assert names == sorted(str(path.relative_to(again)) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (minilm / name).read_bytes() == (again / name).read_bytes(), name


MEASURE = """
import resource, sys
from pathlib import Path
import convert.pipeline, convert.progress
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
from convert.sources import resolve
before = peak()
dtypes = [convert.pipeline.Dtype(sys.argv[2])]
source, progress = "bundled:smollm2-135m-instruct", convert.progress.SilentProgress()
convert.pipeline.convert(source, Path(sys.argv[1]), dtypes=dtypes, progress=progress)
print(peak() - before, "torch" in sys.modules)
"""


@pytest.mark.parametrize("dtype", ["q4", "q8"])
def test_smollm2_converts_in_bounded_memory_without_torch(tmp_path: Path, dtype: str) -> None:

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "out"), dtype], check=True, capture_output=True, text=True
    )
    growth, torch = done.stdout.split()
    assert int(growth) <= 300 << 20
    assert torch == "False"
