"""The command ``verify``: whether a model directory is what its manifest says and runs."""

import dataclasses
import sys
from pathlib import Path

import click

from convert.commands.output import json_option, megabytes, one_line, print_json
from convert.progress import on_stream


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--no-run", is_flag=True, help="Only hash and check; do not run the variants in onnxruntime.")
@json_option
@click.pass_context
def verify(context: click.Context, model_dir: Path, no_run: bool, as_json: bool) -> None:
    """Check every hash of MODEL_DIR, check its graphs, and run each variant once in onnxruntime.

    Every problem is reported, one on a line; with any, the exit code is 1. With --json they are the list "problems".

    \b
    Examples:
      featherweight verify models/smollm2-135m-instruct
      featherweight verify models/minilm-distilbert --no-run --json
    """
    from convert.verification import verify_model  # slow to import

    with on_stream(sys.stderr) as progress:
        report = verify_model(model_dir, progress, run=not no_run)
    if as_json:
        print_json({"ok": not report.problems, **dataclasses.asdict(report)})
    elif report.problems:
        for problem in report.problems:
            click.echo(one_line(problem))
    else:
        click.echo(f"{model_dir}: {report.files} files, {megabytes(report.size_bytes)}, all sound")
        click.echo(f"variants that ran: {', '.join(report.variants) if report.variants else 'none (--no-run)'}")
    if report.problems:
        count = len(report.problems)
        what = "1 problem" if count == 1 else f"{count} problems, the first"
        click.echo(one_line(f"featherweight: error: {model_dir}: {what}: {report.problems[0]}"), err=True)
        context.exit(1)
