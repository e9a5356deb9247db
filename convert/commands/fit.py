"""The command ``fit``: whether a model fits a device, and how fast it will be there."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from convert.commands.output import json_option, megabytes, print_json, print_table

if TYPE_CHECKING:
    from convert.fit.choice import Alternative, Verdict


@click.command()
@click.argument("model", metavar="MANIFEST", type=click.Path(path_type=Path))
@click.option("--device", "profile", required=True, type=click.Path(path_type=Path), help="Profile of the device.")
@click.option("--dtype", help="One variant; by default all of them, and the best here.")
@click.option("--context", "context_length", type=click.IntRange(1), help="Tokens of the KV cache (the model's).")
@click.option("--prompt", "prompt_tokens", default=128, show_default=True, type=click.IntRange(1), help="Its tokens.")
@click.option("--threads", type=click.IntRange(1), help="By default as many as the page would use.")
@click.option("--backend", default="auto", show_default=True, help="auto, wasm, ort-wasm or ort-webgpu.")
@json_option
def fit(
    model: Path,
    profile: Path,
    dtype: str | None,
    context_length: int | None,
    prompt_tokens: int,
    threads: int | None,
    backend: str,
    as_json: bool,
) -> None:
    """Say what the page would say of a model on the device of a profile.

    MANIFEST is a manifest.json or the model directory that holds it. The page's weigh-in offers the profile of the
    device that it runs on for download. Exit code 0 whether the model fits or not.

    \b
    Examples:
      featherweight fit models/smollm2-135m-instruct --device phone.json
      featherweight fit models/smollm2-135m-instruct --device phone.json --dtype q4 --context 2048 --json
    """
    from convert import manifest
    from convert.fit.choice import fit_model
    from convert.fit.device import read_device

    content, device = manifest.load(model), read_device(profile)
    asked = {"context_length": context_length, "threads": threads}

    def verdict_on(name: str | None) -> "Verdict":
        return fit_model(device, content, name, prompt_tokens=prompt_tokens, backend=backend, **asked)

    verdicts = [verdict_on(name) for name in ([dtype] if dtype else [str(each.dtype) for each in content.variants])]
    chosen = verdict_on(dtype)
    if as_json:
        from dataclasses import asdict

        every = [asdict(verdict) for verdict in verdicts]
        print_json({"id": content.model.id, "chosen": chosen.plan.dtype, "verdicts": every})
        return
    rows = [
        (
            verdict.plan.dtype,
            _judgement(verdict),
            megabytes(int(verdict.storage["need"] or 0)),
            _span(verdict.download["seconds"], "s"),
            f"{verdict.memory['need'] / 1e6:.0f} of {verdict.memory['limit'] / 1e6:.0f} MB",
            _span(verdict.ttft_s, "s"),
            _span(verdict.decode_tokens_per_s, "tokens/s"),
        )
        for verdict in verdicts
    ]
    print_table(("dtype", "fits", "download", "in", "memory", "first token", "decode"), rows)
    click.echo(f"{'asked for' if dtype else 'the best here'}: {chosen.plan.dtype}")
    for which in ("smaller", "larger"):
        other = getattr(chosen.alternatives, which)
        if other:
            click.echo(f"next {which}: {_alternative(other)}")


def _judgement(verdict: "Verdict | Alternative") -> str:
    if not verdict.supported:
        return "no"
    return "fits" if verdict.smooth is None else "runs well" if verdict.smooth else "runs slowly"


def _alternative(other: "Alternative") -> str:
    """What another variant would give, on a line."""
    speed = (
        _span(other.decode_tokens_per_s, "tokens/s") if other.decode_tokens_per_s else _span(other.ttft_s, "s a text")
    )
    sizes = f"{megabytes(other.download_bytes)} download, {other.memory_bytes / 1e6:.0f} MB memory"
    return f"{other.dtype}, {_judgement(other)}: {sizes}, {speed}"


def _span(interval: object, unit: str) -> str:
    """An interval in words; nine in ten measurements lie in it."""
    if not isinstance(interval, tuple):
        return "not known"
    low, high = interval
    return f"{low:.3g} to {high:.3g} {unit}"
