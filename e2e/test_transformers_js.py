"""Stock Transformers.js loads both models from our server, unchanged, and agrees with onnxruntime in Python."""

import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from playwright.sync_api import BrowserContext
from tokenizers import Tokenizer

from e2e.conftest import MINILM, ROOT, SMOLLM2, serving
from tests.reference.decoder_session import DecoderSession

PACKAGE = ROOT / "node_modules" / "@huggingface" / "transformers"
PROMPT = "The capital of France is"
TOKENS = 6
SENTENCES = ["A man is eating food.", "Someone is having a meal", "Stock markets fell sharply on Tuesday."]
MINIMUM_COSINE = 0.9999
SETUP = """
  const T = await import("/peer/dist/transformers.min.js");
  T.env.allowLocalModels = false; T.env.useBrowserCache = false;
  T.env.remoteHost = location.origin; T.env.remotePathTemplate = "{model}/resolve/{revision}/";
  T.env.backends.onnx.wasm.wasmPaths = location.origin + "/peer/node_modules/onnxruntime-web/dist/";
  T.env.backends.onnx.wasm.numThreads = 2;
"""
GENERATE = (
    "async ({model, dtype, prompt, count}) => {"
    + SETUP
    + """
  const tokenizer = await T.AutoTokenizer.from_pretrained(model);
  const decoder = await T.AutoModelForCausalLM.from_pretrained(model, { dtype, device: "wasm" });
  const inputs = tokenizer(prompt, { add_special_tokens: false });
  const output = await decoder.generate({ ...inputs, max_new_tokens: count, min_new_tokens: count, do_sample: false });
  return { prompt: inputs.input_ids.tolist()[0].map(Number), all: output.tolist()[0].map(Number) };
}"""
)
EMBED = (
    "async ({model, dtype, sentences}) => {"
    + SETUP
    + """
  const extract = await T.pipeline("feature-extraction", model, { dtype, device: "wasm" });
  return (await extract(sentences, { pooling: "mean", normalize: true })).tolist();
}"""
)


def with_peer(app: Any) -> Any:
    """Add the peer's files and an empty page without our content security policy, which the peer does not meet."""

    def layer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        headers = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")]
        if path == "/peer.html":
            start_response("200 OK", [("Content-Type", "text/html"), *headers])
            return [b"<!doctype html><title>peer</title>"]
        if path.startswith("/peer/"):
            file = (PACKAGE / path.removeprefix("/peer/")).resolve()
            if not file.is_relative_to(PACKAGE.resolve()) or not file.is_file():
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b""]
            kind = "text/javascript" if file.suffix == ".mjs" else mimetypes.guess_type(file.name)[0]
            start_response("200 OK", [("Content-Type", kind or "application/octet-stream"), *headers])
            return [file.read_bytes()]
        return app(environ, start_response)  # type: ignore[no-any-return]

    return layer


@pytest.fixture
def peer(context: BrowserContext, models: Path) -> Any:
    assert PACKAGE.exists(), "@huggingface/transformers is missing: run `npm ci`"
    with serving(models, wrap=with_peer) as url:
        page = context.new_page()
        page.goto(f"{url}/peer.html")
        yield page


def test_decoder_gives_the_same_greedy_tokens(peer: Any, models: Path) -> None:
    found = peer.evaluate(GENERATE, {"model": SMOLLM2, "dtype": "q4", "prompt": PROMPT, "count": TOKENS})
    prompt = Tokenizer.from_file(str(models / SMOLLM2 / "tokenizer.json")).encode(PROMPT, add_special_tokens=False).ids
    assert found["prompt"] == prompt
    tokens, _ = DecoderSession(models / SMOLLM2 / "onnx" / "model_q4.onnx").greedy(prompt, TOKENS)
    assert found["all"] == prompt + tokens


@pytest.mark.parametrize(("dtype", "name"), [("fp32", "model.onnx"), ("q8", "model_quantized.onnx")])
def test_encoder_gives_the_same_embeddings(peer: Any, models: Path, dtype: str, name: str) -> None:
    found = np.array(peer.evaluate(EMBED, {"model": MINILM, "dtype": dtype, "sentences": SENTENCES}))
    tokenizer = Tokenizer.from_file(str(models / MINILM / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(SENTENCES)
    mask = np.array([item.attention_mask for item in encoded])
    session = onnxruntime.InferenceSession(models / MINILM / "onnx" / name, providers=["CPUExecutionProvider"])
    inputs = {"input_ids": np.array([item.ids for item in encoded]), "attention_mask": mask}
    pooled = (session.run(None, inputs)[0] * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    expected = pooled / np.linalg.norm(pooled, axis=-1, keepdims=True)
    assert (found * expected).sum(axis=-1).min() >= MINIMUM_COSINE
