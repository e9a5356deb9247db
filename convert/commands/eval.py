"""The command ``eval``: how good a variant is on a text or on labelled lines."""

from pathlib import Path

import click

from convert.commands.output import json_option, print_json
from convert.dtypes import Dtype
from convert.errors import SourceNotFound


@click.command(name="eval")
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--dtype", required=True, type=click.Choice([str(item) for item in Dtype]), help="Variant to measure.")
@click.option("--text", type=click.Path(path_type=Path), help="Plain text for the perplexity of a decoder.")
@click.option("--labelled", type=click.Path(path_type=Path), help="Lines of TEXT<tab>LABEL for a classifier.")
@click.option("--max-tokens", default=4096, show_default=True, type=click.IntRange(1), help="Tokens of --text to use.")
@json_option
def evaluate(
    model_dir: Path, dtype: str, text: Path | None, labelled: Path | None, max_tokens: int, as_json: bool
) -> None:
    """Measure a variant of MODEL_DIR: perplexity on --text, or accuracy on --labelled."""
    from convert import evaluation

    if (text is None) == (labelled is None):
        raise click.UsageError("give either --text FILE or --labelled FILE.tsv")
    if text is not None:
        measured = evaluation.perplexity(model_dir, dtype, _read(text), max_tokens=max_tokens)
        said = f"{dtype}: perplexity {measured.perplexity:.4f} over {measured.tokens} tokens"
        report: object = measured
    else:
        assert labelled is not None
        lines = [line.rpartition("\t") for line in _read(labelled).splitlines() if line.strip()]
        result = evaluation.accuracy(model_dir, dtype, [(sentence, label) for sentence, _, label in lines])
        said = f"{dtype}: accuracy {result.accuracy:.4f} over {result.examples} examples"
        report = result
    if as_json:
        print_json(report)
    else:
        click.echo(said)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SourceNotFound(f"{path} cannot be read ({error.strerror}); give a UTF-8 text file") from error
    except UnicodeDecodeError as error:
        raise SourceNotFound(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
