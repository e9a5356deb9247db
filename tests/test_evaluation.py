"""Evaluation against plain numpy on small real models: likelihoods, labels, answers and embeddings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert import manifest
from convert.dtypes import Dtype
from convert.errors import BadModelDirectory, FeatherweightError, UnsupportedModel
from convert.evaluation import metrics
from convert.evaluation.answers import answers
from convert.evaluation.decoders import agreement, perplexity
from convert.evaluation.encoders import classification, similarity
from convert.evaluation.recording import record
from convert.evaluation.spans import spans
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.runtime import open_session
from convert.verification import verify_model
from tests import model_directories
from tests.families import encoders, tiny
from tests.model_directories import LABELS, WORDS
from tests.reference import distilbert, llama

NUMBERS = np.random.default_rng(5).integers(0, len(WORDS), 50)
TEXT = " ".join(WORDS[number] for number in NUMBERS)
IDS = NUMBERS + 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluated")
    for make in (model_directories.decoder, model_directories.encoder, model_directories.classifier):
        make(root, Dtype.FP32, Dtype.Q4)
    return root


def log_probabilities(ids: NDArray[Any]) -> NDArray[Any]:
    weights = tiny.random_weights(tiny.llama_shapes(tiny.LLAMA))
    logits = llama.logits(lambda name: weights[name].astype(np.float64), tiny.LLAMA, ids)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(("window", "max_tokens"), [(512, 4096), (20, 4096), (20, 41), (7, 50)])
def test_perplexity_equals_the_reference(models: Path, window: int, max_tokens: int) -> None:
    kept = IDS[:max_tokens]
    scores: list[float] = []
    for start in range(0, len(kept), window):
        piece = kept[start : start + window]
        scores += log_probabilities(piece)[np.arange(len(piece) - 1), piece[1:]].tolist()
    measured = perplexity(models / "decoder", "fp32", TEXT, window=window, max_tokens=max_tokens)
    assert measured.tokens == len(scores)
    assert measured.perplexity == pytest.approx(np.exp(-np.mean(scores)), rel=1e-4)


def test_a_mark_at_the_beginning_lets_the_first_token_be_scored(tmp_path: Path) -> None:
    model_dir = model_directories.decoder(tmp_path, Dtype.FP32)
    (model_dir / "tokenizer.json").unlink()
    model_directories.save_tokenizer(model_dir, marks=True)
    piece = np.concatenate([[1], IDS])
    expected = log_probabilities(piece)[np.arange(len(IDS)), IDS].mean()
    measured = perplexity(model_dir, "fp32", TEXT)
    assert measured.tokens == len(IDS)
    assert measured.perplexity == pytest.approx(np.exp(-expected), rel=1e-4)


def test_a_window_is_no_longer_than_the_context_of_the_model(models: Path) -> None:
    text = " ".join([TEXT] * 4)
    context = tiny.LLAMA["max_position_embeddings"]
    long, exact = (perplexity(models / "decoder", "fp32", text, window=window) for window in (512, context))
    assert long == exact
    assert long.window == context
    assert agreement(models / "decoder", "q4", (models / "decoder", "fp32"), text).tokens == 200


def test_a_variant_agrees_with_itself(models: Path) -> None:
    same = agreement(models / "decoder", "fp32", (models / "decoder", "fp32"), TEXT)
    assert (same.top1_agreement, same.mean_kl_nats, same.max_kl_nats, same.tokens) == (1.0, 0.0, 0.0, 50)


def test_divergence_is_measured_from_the_reference(models: Path) -> None:
    measured = agreement(models / "decoder", "q4", (models / "decoder", "fp32"), TEXT, window=25)
    assert 0 < measured.mean_kl_nats < measured.max_kl_nats
    assert 0.3 < measured.top1_agreement <= 1
    assert measured.tokens == 50


@pytest.mark.parametrize("text", ["", "w1", "   \n"])
def test_rejects_a_text_without_anything_to_predict(models: Path, text: str) -> None:
    with pytest.raises(FeatherweightError, match="too few to predict any"):
        perplexity(models / "decoder", "fp32", text)


def labelled() -> list[tuple[str, str]]:
    """Sentences of different lengths with the label that the numpy reference gives, the first five made wrong."""
    shapes = model_directories.classifier_shapes()
    weights = tiny.random_weights(shapes)
    examples = []
    for length in range(1, 21):
        ids = np.array([[1, *IDS[:length], 2]])
        hidden = distilbert.hidden_state(
            lambda name: weights[f"distilbert.{name}"].astype(np.float64), tiny.DISTILBERT, ids, np.ones_like(ids)
        )[:, 0]
        active = np.maximum(hidden @ weights["pre_classifier.weight"].T + weights["pre_classifier.bias"], 0)
        label = int((active @ weights["classifier.weight"].T + weights["classifier.bias"]).argmax())
        wrong = length <= 5
        examples.append((" ".join(WORDS[number] for number in NUMBERS[:length]), LABELS[(label + wrong) % 3]))
    return examples


def test_accuracy_is_the_share_that_the_reference_gets_right(models: Path) -> None:
    measured = classification(models / "classifier", "fp32", labelled())
    assert (measured.accuracy, measured.examples) == (0.75, 20)


def test_labels_may_be_numbers(models: Path) -> None:
    examples = [(text, str(LABELS.index(label))) for text, label in labelled()]
    assert classification(models / "classifier", "fp32", examples).accuracy == 0.75


@pytest.mark.parametrize(("examples", "said"), [([("w1", "GREAT")], "'GREAT'"), ([], "no line")])
def test_rejects_labels_that_the_model_does_not_know(models: Path, examples: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"{said}.*NEGATIVE or NEUTRAL or POSITIVE"):
        classification(models / "classifier", "fp32", examples)


def test_similarity_of_embeddings(models: Path) -> None:
    texts = [TEXT[:length] for length in (2, 30, 100)]
    same = similarity(models / "encoder", "fp32", (models / "encoder", "fp32"), texts)
    assert same.min_cosine == pytest.approx(1.0)
    other = similarity(models / "encoder", "q4", (models / "encoder", "fp32"), texts)
    assert 0.9 < other.min_cosine <= other.mean_cosine < 1.0
    assert other.texts == 3


def test_rejects_a_measure_that_does_not_fit_the_model(models: Path) -> None:
    with pytest.raises(UnsupportedModel, match="is a feature-extraction model; this measure needs text-generation"):
        perplexity(models / "encoder", "fp32", TEXT)
    with pytest.raises(UnsupportedModel, match="needs text-classification"):
        classification(models / "decoder", "fp32", [("w1", "POSITIVE")])
    with pytest.raises(FeatherweightError, match="no line"):
        similarity(models / "encoder", "fp32", (models / "encoder", "q4"), [])


def test_rejects_a_variant_that_is_not_there(models: Path) -> None:
    with pytest.raises(BadModelDirectory, match="no variant 'q8'; it has: fp32, q4"):
        perplexity(models / "decoder", "q8", TEXT)


def test_rejects_a_tokenizer_that_is_none(tmp_path: Path) -> None:
    model_dir = model_directories.decoder(tmp_path, Dtype.FP32)
    (model_dir / "tokenizer.json").write_text("{}")
    with pytest.raises(BadModelDirectory, match=r"tokenizer\.json: is not a tokenizer"):
        perplexity(model_dir, "fp32", TEXT)


def test_macro_f1_weighs_every_label_alike() -> None:
    # Label 0: 2 right of 3 given and 2 wanted, 0.8; label 1: 1 of 1 and 2, 2/3; label 2 given once, never wanted: 0.
    assert metrics.macro_f1([0, 0, 0, 1, 2], [0, 0, 1, 1, 1]) == pytest.approx((4 / 5 + 2 / 4 + 0) / 3)
    assert metrics.macro_f1([1, 1], [1, 1]) == 1.0


def test_answers_are_what_greedy_decoding_writes(models: Path) -> None:
    prompt = " ".join(WORDS[number] for number in NUMBERS[:4])
    written, ids = [], IDS[:4]
    while len(written) < 48:
        ids = np.append(ids, log_probabilities(ids)[-1].argmax())
        written.append(WORDS[ids[-1] - 4] if 4 <= ids[-1] < 4 + len(WORDS) else "")
    answer = " ".join(written)
    measured = answers(models / "decoder", "fp32", [(prompt, answer.upper() + "."), (prompt, "nothing")])
    assert (measured.exact_match, measured.word_f1, measured.examples) == (0.5, 0.5, 2)


@pytest.mark.parametrize("examples", [[], [("", "w1")], [("w1 " * 100, "w1")]])
def test_rejects_prompts_that_cannot_be_completed(models: Path, examples: list[tuple[str, str]]) -> None:
    with pytest.raises(FeatherweightError, match=r"found no line|tokens, expected 1 to 80"):
        answers(models / "decoder", "fp32", examples)


def test_figures_in_the_manifest_change_the_revision_and_nothing_else(tmp_path: Path) -> None:
    model_dir = model_directories.decoder(tmp_path, Dtype.FP32)
    before, revision = manifest.load(model_dir), manifest.revision(model_dir)
    record(model_dir, "fp32", {"perplexity": 21.123456789, "tokens": 4096, "text": "english.txt sha256:0123"})
    record(model_dir, "fp32", {"tokens": 12, "mean_kl_nats": 0.0})
    after = manifest.load(model_dir)
    assert after.quality == {
        "fp32": {"perplexity": 21.12, "tokens": 12, "text": "english.txt sha256:0123", "mean_kl_nats": 0.0}
    }
    assert (after.files, after.variants, after.model) == (before.files, before.variants, before.model)
    assert manifest.revision(model_dir) != revision
    assert verify_model(model_dir, SilentProgress()).problems == []
    record(model_dir, "fp32", {"tokens": 12})
    assert manifest.load(model_dir).to_bytes() == after.to_bytes()


def test_figures_that_say_nothing_are_refused(tmp_path: Path) -> None:
    model_dir = model_directories.decoder(tmp_path, Dtype.FP32)
    with pytest.raises(FeatherweightError, match="perplexity is inf"):
        record(model_dir, "fp32", {"perplexity": float("inf")})
    with pytest.raises(BadModelDirectory, match="no variant 'q8'"):
        record(model_dir, "q8", {"perplexity": 2.0})
    assert sorted(path.name for path in model_dir.iterdir() if path.name.startswith(".")) == []


def test_an_answer_is_the_likeliest_span_of_the_context(tmp_path: Path) -> None:
    folder = encoders.save_checkpoint(tmp_path / "checkpoint", "distilbert")
    model_directories.save_tokenizer(folder, marks=True)
    convert(str(folder), tmp_path / "qa", dtypes=[Dtype.FP32], task="question-answering", progress=SilentProgress())
    question, context = " ".join(WORDS[:5]), " ".join(WORDS[10:22])
    ids = np.array([[1, *range(4, 9), 2, *range(14, 26), 2]])
    session = open_session(tmp_path / "qa" / "onnx" / "model.onnx")
    start, end = session.run(["start_logits", "end_logits"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    _, first, last = max(
        (start[0, first] + end[0, last], first, last) for first in range(7, 19) for last in range(first, 19)
    )
    answer = " ".join(WORDS[10 + first - 7 : 10 + last - 7 + 1])
    found = spans(tmp_path / "qa", "fp32", [(question, context, answer), (question, context, "nothing")])
    assert (found.exact_match, found.word_f1, found.examples) == (0.5, 0.5, 2)
    with pytest.raises(FeatherweightError, match="leaves no room"):
        spans(tmp_path / "qa", "fp32", [("w1 " * 500, context, answer)])
    with pytest.raises(FeatherweightError, match="found no line"):
        spans(tmp_path / "qa", "fp32", [])
