"""The command ``eval``: how good a variant is on a text or on labelled lines."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from convert import manifest
from convert.commands.output import json_option, print_json
from convert.dtypes import Dtype
from convert.errors import SourceNotFound

DTYPES = click.Choice([str(item) for item in Dtype])


@click.command(name="eval")
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--dtype", required=True, type=DTYPES, help="Variant to measure.")
@click.option(
    "--text", type=click.Path(path_type=Path), help="UTF-8 text for a decoder; one text a line for embeddings."
)
@click.option("--labelled", type=click.Path(path_type=Path), help="Lines of TEXT<tab>LABEL for a classifier.")
@click.option("--against", type=DTYPES, help="Also compare with this variant of the same model, on --text.")
@click.option("--window", default=512, show_default=True, type=click.IntRange(2), help="Tokens of context at most.")
@click.option("--max-tokens", default=4096, show_default=True, type=click.IntRange(2), help="Tokens of --text to use.")
@json_option
def evaluate(
    model_dir: Path,
    dtype: str,
    text: Path | None,
    labelled: Path | None,
    against: str | None,
    window: int,
    max_tokens: int,
    as_json: bool,
) -> None:
    """Measure a variant of MODEL_DIR: perplexity on --text, or accuracy on --labelled.

    With --against another variant: how often both would choose the same next token, and how far their distributions
    lie apart; of a model that makes embeddings, the cosine between the two.

    \b
    Examples:
      featherweight eval models/smollm2-135m-instruct --dtype q4 --text book.txt --against fp32
      featherweight eval models/minilm-distilbert --dtype q8 --text sentences.txt --against fp32
      featherweight eval models/sentiment --dtype q8 --labelled reviews.tsv --json
    """
    if (text is None) == (labelled is None):
        raise click.UsageError("give either --text FILE or --labelled FILE.tsv")
    if against is not None and text is None:
        raise click.UsageError("--against needs --text FILE")
    if text is not None:
        report = _on_text(model_dir, dtype, against, text, {"window": window, "max_tokens": max_tokens})
    else:
        assert labelled is not None
        report = _on_labels(model_dir, dtype, labelled)
    if as_json:
        print_json({"dtype": dtype, **report})
        return
    compared = report.pop("against", None)
    if report:
        click.echo(f"{dtype}: {_sentence(report)}")
    if compared:
        click.echo(f"{dtype} against {against}: {_sentence(compared)}")


def _on_text(model_dir: Path, dtype: str, against: str | None, text: Path, limits: dict[str, int]) -> dict[str, Any]:
    from convert import evaluation  # slow to import

    if manifest.load(model_dir).model.task == "feature-extraction":
        if against is None:
            raise click.UsageError("a model that makes embeddings is measured --against another variant")
        lines = [line for line in _read(text).splitlines() if line.strip()]
        return {"against": {"dtype": against, **asdict(evaluation.similarity(model_dir, dtype, against, lines))}}
    content = _read(text, limits["max_tokens"] * evaluation.CHARACTERS_PER_TOKEN)
    report: dict[str, Any] = asdict(evaluation.perplexity(model_dir, dtype, content, **limits))
    if against is not None:
        compared = evaluation.agreement(model_dir, dtype, against, content, **limits)
        report["against"] = {"dtype": against, **asdict(compared)}
    return report


def _on_labels(model_dir: Path, dtype: str, labelled: Path) -> dict[str, Any]:
    from convert import evaluation  # slow to import

    lines = [line.rpartition("\t") for line in _read(labelled).splitlines() if line.strip()]
    return asdict(evaluation.accuracy(model_dir, dtype, [(sentence, label) for sentence, _, label in lines]))


def _sentence(report: dict[str, Any]) -> str:
    words = ((name.replace("_", " "), value) for name, value in report.items() if name != "dtype")
    return ", ".join(f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in words)


def _read(path: Path, characters: int = -1) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(characters)
    except OSError as error:
        raise SourceNotFound(f"{path}: cannot be read ({error.strerror}); give a UTF-8 text file") from error
    except UnicodeDecodeError as error:
        raise SourceNotFound(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error
