"""The command ``inspect``: what a model directory holds."""

from pathlib import Path

import click

from convert.commands.output import json_option, megabytes, print_json, print_table


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.option("--context", "context_length", type=click.IntRange(1), help="Tokens of the memory estimate.")
@json_option
def inspect(model_dir: Path, context_length: int | None, as_json: bool) -> None:
    """Show variants, sizes, parameters, operators and predicted memory of MODEL_DIR.

    The memory is that of one copy of the weights, of the KV cache at --context tokens, and of a prompt's activations.

    \b
    Examples:
      featherweight inspect models/smollm2-135m-instruct --context 8192
      featherweight inspect models/minilm-distilbert --json
    """
    from convert.inspection import inspect_model  # slow to import

    report = inspect_model(model_dir, context_length=context_length)
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.name} ({report.id}): {report.family}, {report.task}, licence {report.license}")
    click.echo(
        f"{report.parameters / 1e6:.1f} M parameters, context {report.context_length}, from {report.source['name']}"
    )
    rows = [
        (
            item.dtype,
            "-" if item.block_size is None else str(item.block_size),
            "yes" if item.lossless_import else "no",
            megabytes(item.download_bytes),
            f"{item.macs_per_token / 1e6:.1f} M",
            f"{megabytes(item.memory_bytes)} at {item.context_length}",
        )
        for item in report.variants
    ]
    print_table(("dtype", "block", "lossless import", "download", "MACs/token", "memory at context"), rows)
    for item in report.variants:
        operators = ", ".join(f"{name} {count}" for name, count in item.operators.items())
        click.echo(f"{item.dtype}: {operators}")
