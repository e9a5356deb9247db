"""The command ``eval``: how good a variant is on a text or on labelled lines."""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from convert import manifest
from convert.commands.inputs import read_text
from convert.commands.output import json_option, print_json
from convert.dtypes import Dtype
from convert.errors import SourceNotFound, UnsupportedModel
from convert.progress import on_stream

DTYPES = click.Choice([str(item) for item in Dtype])
HASH_DIGITS = 12


@click.command(name="eval")
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--dtype", required=True, type=DTYPES, help="Variant to measure.")
@click.option(
    "--text", type=click.Path(path_type=Path), help="UTF-8 text for a decoder; one text a line for embeddings."
)
@click.option(
    "--labelled",
    type=click.Path(path_type=Path),
    help="Lines of TEXT<tab>LABEL, of PROMPT<tab>ANSWER, or of QUESTION<tab>CONTEXT<tab>ANSWER.",
)
@click.option("--against", type=DTYPES, help="Also compare with this variant of the same model, on --text.")
@click.option("--source", help="Also compare with this checkpoint (as for convert) at full precision, on --text.")
@click.option("--window", default=512, show_default=True, type=click.IntRange(2), help="Tokens of context at most.")
@click.option("--max-tokens", default=4096, show_default=True, type=click.IntRange(2), help="Tokens of --text to use.")
@click.option("--write", is_flag=True, help="Put the figures into the manifest; this changes the model's revision.")
@json_option
def evaluate(
    model_dir: Path,
    dtype: str,
    text: Path | None,
    labelled: Path | None,
    against: str | None,
    source: str | None,
    window: int,
    max_tokens: int,
    write: bool,
    as_json: bool,
) -> None:
    """Measure a variant of MODEL_DIR: perplexity on --text; accuracy, F1 and exact match on --labelled.

    With --against another variant, or --source: how often both would choose the same next token, and how far their
    distributions lie apart; of a model that makes embeddings, the cosine between the two.

    \b
    Examples:
      featherweight eval models/smollm2-135m-instruct --dtype q4 --text book.txt --against q8
      featherweight eval models/mine --dtype q4 --text book.txt --source ./my-checkpoint --write
      featherweight eval models/minilm-distilbert --dtype q8 --text sentences.txt --against fp32
      featherweight eval models/sentiment --dtype q8 --labelled reviews.tsv --json
    """
    if (text is None) == (labelled is None):
        raise click.UsageError("give either --text FILE or --labelled FILE.tsv")
    if against is not None and source is not None:
        raise click.UsageError("give either --against DTYPE or --source SOURCE")
    if (against or source) and text is None:
        raise click.UsageError("--against and --source need --text FILE")
    if text is not None:
        limits = {"window": window, "max_tokens": max_tokens}
        with _reference(model_dir, against, source) as reference:
            figures = _on_text(model_dir, dtype, reference, text, limits)
    else:
        assert labelled is not None
        figures = _on_labels(model_dir, dtype, labelled)
    if compared := figures.get("against"):
        compared["dtype"] = against or "source"
    if write:
        from convert.evaluation.recording import record  # slow to import

        record(model_dir, dtype, _flat(figures, text or labelled))
    if as_json:
        print_json({"dtype": dtype, **figures})
        return
    figures.pop("against", None)
    if figures:
        click.echo(f"{dtype}: {_sentence(figures)}")
    if compared:
        name = compared.pop("dtype")
        click.echo(f"{dtype} against {name}: {_sentence(compared)}")


@contextmanager
def _reference(model_dir: Path, against: str | None, source: str | None) -> Iterator[tuple[Path, str] | None]:
    """Directory and dtype to compare with; a source is converted to fp32 for as long as it is needed."""
    if source is None:
        yield None if against is None else (model_dir, against)
        return
    from convert import pipeline  # slow to import

    task = manifest.load(model_dir).model.task
    with tempfile.TemporaryDirectory(prefix="featherweight-") as folder, on_stream(sys.stderr) as progress:
        exact = Path(folder) / "source"
        pipeline.convert(source, exact, dtypes=[Dtype.FP32], task=task, progress=progress)
        yield exact, Dtype.FP32


def _on_text(
    model_dir: Path, dtype: str, reference: tuple[Path, str] | None, text: Path, limits: dict[str, int]
) -> dict[str, Any]:
    from convert import runtime  # slow to import
    from convert.evaluation.decoders import agreement, perplexity
    from convert.evaluation.encoders import similarity

    if manifest.load(model_dir).model.task == "feature-extraction":
        if reference is None:
            raise click.UsageError("a model that makes embeddings is measured --against another variant or a --source")
        lines = [line for line in read_text(text).splitlines() if line.strip()]
        return {"against": asdict(similarity(model_dir, dtype, reference, lines))}
    content = read_text(text, limits["max_tokens"] * runtime.CHARACTERS_PER_TOKEN)
    figures: dict[str, Any] = asdict(perplexity(model_dir, dtype, content, **limits))
    if reference is not None:
        figures["against"] = asdict(agreement(model_dir, dtype, reference, content, **limits))
    return figures


def _on_labels(model_dir: Path, dtype: str, labelled: Path) -> dict[str, Any]:
    from convert.evaluation.answers import answers  # slow to import
    from convert.evaluation.encoders import classification
    from convert.evaluation.spans import spans

    examples = []
    for number, line in enumerate(read_text(labelled).splitlines(), start=1):
        text, tab, label = line.rpartition("\t")
        if tab:
            examples.append((text, label))
        elif line.strip():
            raise SourceNotFound(f"{labelled}: line {number} has no tab; expected TEXT<tab>LABEL or PROMPT<tab>ANSWER")
    task = manifest.load(model_dir).model.task
    if task == "text-generation":
        return asdict(answers(model_dir, dtype, examples))
    if task == "text-classification":
        return asdict(classification(model_dir, dtype, examples))
    if task == "question-answering":
        return asdict(spans(model_dir, dtype, [_question(text, answer, labelled) for text, answer in examples]))
    known = "text-classification, question-answering and text-generation"
    raise UnsupportedModel(f"{model_dir}: is a {task} model; --labelled measures {known}")


def _question(text: str, answer: str, labelled: Path) -> tuple[str, str, str]:
    question, tab, context = text.partition("\t")
    if not tab:
        raise SourceNotFound(f"{labelled}: {text[:40]!r} has no context; expected QUESTION<tab>CONTEXT<tab>ANSWER")
    return question, context, answer


def _flat(figures: dict[str, Any], measured_on: Path | None) -> dict[str, Any]:
    """Figures as the manifest keeps them: the counts say of what, and the file is named by its hash."""
    assert measured_on is not None
    compared = figures.get("against", {})
    flat = {name: value for name, value in figures.items() if name != "against"}
    flat |= {name: value for name, value in compared.items() if name != "dtype"}
    if compared:
        flat["against"] = compared["dtype"]
    measure = "labelled" if {"accuracy", "exact_match"} & flat.keys() else "text"
    digest = hashlib.sha256(measured_on.read_bytes()).hexdigest()[:HASH_DIGITS]
    return {**flat, measure: f"{measured_on.name} sha256:{digest}"}


def _sentence(report: dict[str, Any]) -> str:
    words = ((name.replace("_", " "), value) for name, value in report.items())
    return ", ".join(f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in words)
