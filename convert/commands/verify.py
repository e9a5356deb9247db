"""The command ``verify``: whether a model directory is what its manifest says and runs."""

import sys
from pathlib import Path

import click

from convert.commands.output import json_option, megabytes, print_json
from convert.errors import BadModelDirectory
from convert.progress import on_stream


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--no-run", is_flag=True, help="Only hash and check; do not run the variants in onnxruntime.")
@json_option
def verify(model_dir: Path, no_run: bool, as_json: bool) -> None:
    """Check every hash of MODEL_DIR, check its graphs, and run each variant once in onnxruntime."""
    from convert.verification import verify_model

    with on_stream(sys.stderr) as progress:
        report = verify_model(model_dir, progress, run=not no_run)
    if report.problems:
        for problem in report.problems[1:]:
            click.echo(f"featherweight: also: {problem}", err=True)
        raise BadModelDirectory(f"{model_dir}: {len(report.problems)} problems; {report.problems[0]}")
    if as_json:
        print_json(report)
        return
    click.echo(f"{model_dir}: {report.files} files, {megabytes(report.size_bytes)}, all sound")
    click.echo(f"variants that ran: {', '.join(report.variants) if not no_run else 'none (--no-run)'}")
