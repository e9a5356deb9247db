"""Stock Transformers.js loads tiny encoders and encoder-decoders, unchanged, and agrees with onnxruntime in Python."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from convert.dtypes import Dtype
from e2e.conftest import serving
from e2e.test_transformers_js import SETUP, with_peer
from tests.families.encoders import arrays, original
from tests.model_directories import stored
from tests.reference.encoder_decoder_session import EncoderDecoderSession

DTYPES = {"fp32": Dtype.FP32, "q4": Dtype.Q4}
TEXT2TEXT = "text2text-generation"
CLASSES = {
    "feature-extraction": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
}
ENCODERS = [*(("bert", task) for task in CLASSES), ("albert", "question-answering"), ("roberta", "fill-mask")]
ENCODER_DECODERS = ["bart", "bart_scaled", "t5", "t5_gated"]
ANSWER_TOKENS, LEAST_COSINE = 12, 0.9999
RUN = (
    "async ({encoders, encoderDecoders, dtypes, count}) => {"
    + SETUP
    + """
  const int64 = (rows) =>
    new T.Tensor("int64", BigInt64Array.from(rows.flat().map(BigInt)), [rows.length, rows[0].length]);
  const tensors = (inputs) => Object.fromEntries(Object.entries(inputs).map(([name, rows]) => [name, int64(rows)]));
  const found = {};
  for (const dtype of dtypes) {
    for (const { id, className, inputs } of encoders) {
      const model = await T[className].from_pretrained(id, { dtype, device: "wasm" });
      const outputs = await model(tensors(inputs));
      found[`${id} ${dtype}`] = Object.fromEntries(
        ["last_hidden_state", "logits", "start_logits", "end_logits"]
          .filter((name) => outputs[name]).map((name) => [name, outputs[name].tolist()]),
      );
      await model.dispose();
    }
    for (const { id, inputs } of encoderDecoders) {
      const model = await T.AutoModelForSeq2SeqLM.from_pretrained(id, { dtype, device: "wasm" });
      const options = { max_new_tokens: count, min_new_tokens: count, do_sample: false };
      const answers = await model.generate({ ...tensors(inputs), ...options });
      found[`${id} ${dtype}`] = answers.tolist().map((row) => row.map(Number));
      await model.dispose();
    }
  }
  return found;
}"""
)


def inputs_of(name: str, task: str) -> dict[str, NDArray[Any]]:
    given = arrays(original(name)["tasks"][task]["inputs"])
    return {key: value for key, value in given.items() if key != "decoder_input_ids"}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("families")
    for name, task in (*ENCODERS, *((name, TEXT2TEXT) for name in ENCODER_DECODERS)):
        stored(root, name, task, *DTYPES.values())
    return root


@pytest.fixture(scope="module")
def found(directories: Path, browser: Browser) -> Any:
    def listed(name: str, task: str) -> dict[str, Any]:
        return {key: value.tolist() for key, value in inputs_of(name, task).items()}

    ask = {
        "encoders": [
            {"id": f"{name}-{task}", "className": CLASSES[task], "inputs": listed(name, task)}
            for name, task in ENCODERS
        ],
        "encoderDecoders": [
            {"id": f"{name}-{TEXT2TEXT}", "inputs": listed(name, TEXT2TEXT)} for name in ENCODER_DECODERS
        ],
        "dtypes": list(DTYPES),
        "count": ANSWER_TOKENS,
    }
    context = browser.new_context()
    context.set_default_timeout(240_000)
    with serving(directories, wrap=with_peer) as url:
        page = context.new_page()
        page.goto(f"{url}/peer.html")
        yield page.evaluate(RUN, ask)
    context.close()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "task"), ENCODERS)
def test_encoder_gives_the_same_outputs(directories: Path, found: Any, name: str, task: str, dtype: str) -> None:
    graph = directories / f"{name}-{task}" / "onnx" / f"model{DTYPES[dtype].suffix}.onnx"
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    outputs = found[f"{name}-{task} {dtype}"]
    assert set(outputs) == set(names)
    for output, expected in zip(names, session.run(None, inputs_of(name, task)), strict=True):
        value = np.array(outputs[output])
        assert value.shape == expected.shape
        cosine = (value * expected).sum() / (np.linalg.norm(value) * np.linalg.norm(expected))
        assert cosine >= LEAST_COSINE


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_encoder_decoder_gives_the_same_greedy_tokens(directories: Path, found: Any, name: str, dtype: str) -> None:
    session = EncoderDecoderSession(directories / f"{name}-{TEXT2TEXT}" / "onnx", DTYPES[dtype].suffix)
    inputs = inputs_of(name, TEXT2TEXT)
    session.start(inputs["input_ids"], inputs["attention_mask"])
    config = original(name)["config"]
    ids = np.full((2, 1), config["decoder_start_token_id"])
    answer = [ids]
    for _ in range(ANSWER_TOKENS):
        logits = session.run(ids)[:, -1]
        logits[:, config["eos_token_id"]] = -np.inf  # min_new_tokens
        ids = logits.argmax(axis=-1, keepdims=True)
        answer.append(ids)
    assert found[f"{name}-{TEXT2TEXT} {dtype}"] == np.concatenate(answer, axis=1).tolist()
