"""Our engine in a real Chromium against onnxruntime in Python: the same model files, the same tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from playwright.sync_api import Page
from tokenizers import Tokenizer

from e2e.conftest import MINILM, SMOLLM2, serving
from e2e.test_first_visit import manifest_url
from tests.conftest import DATA
from tests.reference.decoder_session import DecoderSession

TOKENS = 160

LARGEST_RELATIVE_ERROR = 2e-2
LEAST_AGREEMENT = 0.98
SENTENCES = ["A man is eating food.", "Someone is having a meal", "Stock markets fell sharply on Tuesday. " * 9]
# Logits after each token, teacher-forced; every other way through prefill to cover both phases.
LOGITS = """async ({url, dtype, ids, threads}) => {
  const { loadModel } = await import("/static/featherweight.js");
  const model = await loadModel(url, { dtype, backend: "wasm", threads });
  const argmax = (row) => row.reduce((top, value, index) => (value > row[top] ? index : top), 0);
  let logits = await model.prefill(ids.slice(0, 37));
  const first = Array.from(logits);
  const best = [argmax(logits)];
  let moved = 0;
  for (const [at, id] of ids.slice(37).entries()) {
    const before = logits;
    logits = await model.decode(id, at % 2 ? { into: before } : {});
    if (before.length === 0) moved += 1;
    best.push(argmax(logits));
  }
  const { backend, threads: used } = model.stats;
  await model.dispose();
  return { backend, threads: used, best, moved, first, last: Array.from(logits) };
}"""
EMBED = """async ({url, dtype, sentences}) => {
  const { loadModel } = await import("/static/featherweight.js");
  const model = await loadModel(url, { dtype, backend: "wasm" });
  const rows = await model.embed(sentences);
  await model.dispose();
  return rows.map((row) => Array.from(row));
}"""


def relative_error(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(found) - expected) / np.linalg.norm(expected))


def check_decoder(page: Page, base_url: str, models: Path, dtype: str, name: str, threads: int) -> None:
    tokenizer = Tokenizer.from_file(str(models / SMOLLM2 / "tokenizer.json"))
    text = (DATA / "english.txt").read_text()
    ids = tokenizer.encode(text, add_special_tokens=False).ids[:TOKENS]
    page.goto(base_url)
    ask = {"url": manifest_url(page, base_url, SMOLLM2), "dtype": dtype, "ids": ids, "threads": threads}
    found = page.evaluate(LOGITS, ask)
    expected = DecoderSession(models / SMOLLM2 / "onnx" / name).run(ids)[36:]
    assert found["backend"] == "wasm"
    assert found["threads"] == threads
    assert found["moved"] == (TOKENS - 37) // 2, "only logits that were offered are moved"
    assert relative_error(found["first"], expected[0]) <= LARGEST_RELATIVE_ERROR
    assert relative_error(found["last"], expected[-1]) <= LARGEST_RELATIVE_ERROR
    assert np.mean(np.array(found["best"]) == expected.argmax(axis=-1)) >= LEAST_AGREEMENT


@pytest.mark.parametrize(("dtype", "name"), [("q4", "model_q4.onnx"), ("q8", "model_quantized.onnx")])
def test_decoder_agrees_with_onnxruntime(page: Page, base_url: str, models: Path, dtype: str, name: str) -> None:
    check_decoder(page, base_url, models, dtype, name, threads=2)


def test_decoder_agrees_on_one_thread_without_isolation(page: Page, models: Path) -> None:
    with serving(models, ISOLATION=False) as base_url:
        check_decoder(page, base_url, models, "q4", "model_q4.onnx", threads=1)


@pytest.mark.parametrize(
    ("dtype", "name", "least"), [("fp32", "model.onnx", 0.99999), ("q8", "model_quantized.onnx", 0.999)]
)
def test_encoder_agrees_with_onnxruntime(
    page: Page, base_url: str, models: Path, dtype: str, name: str, least: float
) -> None:
    page.goto(base_url)
    ask = {"url": manifest_url(page, base_url, MINILM), "dtype": dtype, "sentences": SENTENCES}
    found = np.array(page.evaluate(EMBED, ask))
    tokenizer = Tokenizer.from_file(str(models / MINILM / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    mask = np.array([item.attention_mask for item in encoded])
    inputs = {"input_ids": np.array([item.ids for item in encoded]), "attention_mask": mask}
    session = onnxruntime.InferenceSession(models / MINILM / "onnx" / name, providers=["CPUExecutionProvider"])
    pooled = (session.run(None, inputs)[0] * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    expected = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)
    assert (found * expected).sum(axis=-1).min() >= least
