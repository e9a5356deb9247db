"""Stock Transformers.js loads a tiny model of every family, unchanged, and agrees with onnxruntime in Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from convert.dtypes import Dtype
from e2e.conftest import serving
from e2e.test_transformers_js import SETUP, with_peer
from tests.families.decoders import CASES, ids
from tests.model_directories import family
from tests.reference.decoder_session import DecoderSession

DTYPES = {"fp32": Dtype.FP32, "q4": Dtype.Q4}
PROMPT, LEAST_COSINE = 5, 0.9999
# Logits of a prompt, then of every further token through the KV cache, past the edge of the window.
LOGITS = (
    "async ({names, dtypes, ids, count}) => {"
    + SETUP
    + """
  const int64 = (values) => new T.Tensor("int64", BigInt64Array.from(values.map(BigInt)), [1, values.length]);
  const found = {};
  for (const name of names) {
    for (const dtype of dtypes) {
      const decoder = await T.AutoModelForCausalLM.from_pretrained(name, { dtype, device: "wasm" });
      const rows = [];
      let past = null;
      for (let end = count; end <= ids.length; end++) {
        const start = end === count ? 0 : end - 1;
        const mask = int64(Array(end).fill(1));
        const feed = { input_ids: int64(ids.slice(start, end)), attention_mask: mask, past_key_values: past };
        const outputs = await decoder(feed);
        rows.push(Array.from(outputs.logits.data.slice(-outputs.logits.dims[2])));
        const present = Object.entries(outputs).filter(([key]) => key.startsWith("present"));
        past = new T.DynamicCache(
          Object.fromEntries(present.map(([key, value]) => [key.replace("present", "past_key_values"), value])),
        );
      }
      found[`${name} ${dtype}`] = rows;
      await decoder.dispose();
    }
  }
  return found;
}"""
)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("families")
    for name in CASES:
        family(root, name, *DTYPES.values())
    return root


@pytest.fixture(scope="module")
def found(directories: Path, browser: Browser) -> Any:
    context = browser.new_context()
    context.set_default_timeout(240_000)
    with serving(directories, wrap=with_peer) as url:
        page = context.new_page()
        page.goto(f"{url}/peer.html")
        ask = {"names": list(CASES), "dtypes": list(DTYPES), "ids": ids(), "count": PROMPT}
        yield page.evaluate(LOGITS, ask)
    context.close()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_decoder_gives_the_same_logits(directories: Path, found: Any, name: str, dtype: str) -> None:
    session = DecoderSession(directories / name / "onnx" / f"model{DTYPES[dtype].suffix}.onnx")
    expected = np.concatenate([session.run(ids()[:PROMPT])[-1:], *(session.run([token]) for token in ids()[PROMPT:])])
    logits = np.array(found[f"{name} {dtype}"])
    norms = np.linalg.norm(logits, axis=-1) * np.linalg.norm(expected, axis=-1)
    assert ((logits * expected).sum(axis=-1) / norms).min() >= LEAST_COSINE
