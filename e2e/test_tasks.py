"""The public module's tasks in a real Chromium, on tiny models, against onnxruntime in Python."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from playwright.sync_api import Browser
from tokenizers import Tokenizer

from convert.dtypes import Dtype
from e2e.conftest import serving
from tests.model_directories import stored
from tests.reference.encoder_decoder_session import EncoderDecoderSession

MODELS = [
    ("bert", "token-classification"),
    ("albert", "question-answering"),
    ("roberta", "fill-mask"),
    ("bart", "text2text-generation"),
    ("t5", "text2text-generation"),
]
TEXT = "w3 w1 w4 w15 w9 w26"
CONTEXT = "w5 w35 w8 w9 w7 w93 w2"
MASKED = "w3 w1 [MASK] w15"
ANSWER_TOKENS, TOLERANCE = 10, 1e-3
RUN = """async ({ text, context, masked, count }) => {
  const { ghostRun, listModels, loadModel } = await import("/static/featherweight.js");
  const calls = {
    "token-classification": (model) => model.classifyTokens(text, { ignoreLabels: [] }),
    "question-answering": (model) => model.answer(text, context, { topK: 3 }),
    "fill-mask": (model) => model.fillMask(masked, { topK: 4 }),
    "text2text-generation": async (model) => {
      const ids = [];
      for await (const piece of model.generate(text, { maxNewTokens: count })) ids.push(piece.tokenId);
      return ids;
    },
  };
  const found = {};
  for (const { id, task, manifest_url } of await listModels()) {
    const answers = task === "text2text-generation";
    const ghost = answers && (await ghostRun(manifest_url, { dtype: "fp32", contextLength: 20, promptTokens: 9 }));
    const model = await loadModel(manifest_url, { dtype: "fp32", backend: "auto" });
    const refused = await model.embed("text").then(() => "embedded", (error) => error.code);
    found[id] = { value: await calls[task](model), backend: model.stats.backend, refused, ghost };
    await model.dispose();
  }
  return found;
}"""


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tasks")
    for name, task in MODELS:
        stored(root, name, task, Dtype.FP32)
    return root


@pytest.fixture(scope="module")
def found(directories: Path, browser: Browser) -> Any:
    context = browser.new_context()
    context.set_default_timeout(240_000)
    with serving(directories) as url:
        page = context.new_page()
        page.goto(url)
        yield page.evaluate(RUN, {"text": TEXT, "context": CONTEXT, "masked": MASKED, "count": ANSWER_TOKENS})
    context.close()


def encode(directory: Path, *texts: str) -> dict[str, Any]:
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = tokenizer.encode(*texts)
    ids, types = np.array([encoded.ids]), np.array([encoded.type_ids])
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": types}


def run(directory: Path, *texts: str) -> list[Any]:
    session = onnxruntime.InferenceSession(directory / "onnx/model.onnx", providers=["CPUExecutionProvider"])
    names = {item.name for item in session.get_inputs()}
    feed = {name: value for name, value in encode(directory, *texts).items() if name in names}
    return [output[0] for output in session.run(None, feed)]


def softmax(logits: Any) -> Any:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def test_tokens_are_labelled(directories: Path, found: Any) -> None:
    (logits,) = run(directories / "bert-token-classification", TEXT)
    scores = softmax(logits[1:-1])
    tokens = found["bert-token-classification"]["value"]
    assert [item["word"] for item in tokens] == TEXT.split()
    assert [TEXT[item["start"] : item["end"]] for item in tokens] == TEXT.split()
    assert [item["label"] for item in tokens] == [f"L{best}" for best in scores.argmax(axis=-1)]
    np.testing.assert_allclose([item["score"] for item in tokens], scores.max(axis=-1), atol=TOLERANCE)


def test_questions_are_answered(directories: Path, found: Any) -> None:
    words = CONTEXT.split()
    starts, ends = run(directories / "albert-question-answering", TEXT, CONTEXT)
    first = len(TEXT.split()) + 2
    kept = [0, *range(first, first + len(words))]
    start, end = (softmax(logits[kept])[1:] for logits in (starts, ends))
    spans = sorted(((start[a] * end[b], a, b) for a in range(len(words)) for b in range(a, len(words))), reverse=True)[
        :3
    ]
    answers = found["albert-question-answering"]["value"]
    assert [item["answer"] for item in answers] == [" ".join(words[a : b + 1]) for _, a, b in spans]
    np.testing.assert_allclose([item["score"] for item in answers], [score for score, *_ in spans], atol=TOLERANCE)


def test_masks_are_filled(directories: Path, found: Any) -> None:
    (logits,) = run(directories / "roberta-fill-mask", MASKED)
    scores = softmax(logits[3])
    best = np.argsort(-scores)[:4]
    fillings = found["roberta-fill-mask"]["value"]
    assert [item["tokenId"] for item in fillings] == best.tolist()
    np.testing.assert_allclose([item["score"] for item in fillings], scores[best], atol=TOLERANCE)


@pytest.mark.parametrize(("name", "start", "end"), [("bart", 2, 2), ("t5", 0, 1)])
def test_encoder_decoders_answer(directories: Path, found: Any, name: str, start: int, end: int) -> None:
    directory = directories / f"{name}-text2text-generation"
    session = EncoderDecoderSession(directory / "onnx")
    given = encode(directory, TEXT)
    session.start(given["input_ids"], given["attention_mask"])
    answer = [start]
    while len(answer) <= ANSWER_TOKENS and (len(answer) == 1 or answer[-1] != end):
        answer.append(int(session.run(np.array([answer[-1:]]))[0, -1].argmax()))
    result = found[f"{name}-text2text-generation"]
    assert result["value"] == answer[1:]
    assert result["backend"] == "wasm"


def test_encoder_decoders_have_a_ghost(found: Any) -> None:
    for name in ("bart", "t5"):
        ghost = found[f"{name}-text2text-generation"]["ghost"]
        assert ghost["prefill_tokens_per_s"] > 0
        assert ghost["decode_tokens_per_s"] > 0
        assert ghost["peak_memory_bytes"] > 0


def test_other_tasks_are_refused(found: Any) -> None:
    assert {item["refused"] for item in found.values()} == {"unsupported"}
