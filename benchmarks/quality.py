"""Measures what each way of quantizing costs the bundled models, and writes the tables of docs/quality.md.

``python -m benchmarks.quality`` converts, measures (an hour of two busy cores) and writes docs/quality.json; with
``--only TEXT`` it measures the rows whose description holds TEXT and keeps the others, with ``--report`` it only
renders the tables of what is stored there.
"""

import argparse
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dynamic_int8 import write_dynamic_int8
from convert import __version__, manifest
from convert.dtypes import Dtype
from convert.evaluation import metrics
from convert.evaluation.decoders import agreement, perplexity
from convert.evaluation.encoders import embeddings
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.quantize.recipe import parse_recipe

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data"
STORED, PAGE = ROOT / "docs" / "quality.json", ROOT / "docs" / "quality.md"
MAX_TOKENS = 2048
MEGABYTE = 10**6
DECODER, ENCODER = "smollm2-135m-instruct", "minilm-distilbert"
ANEW = ("rtn", "mse", "gptq")
"""Methods; a recipe that names one has the blocks of the GGUF file rounded anew, as if its weights were floats."""
PEER = "ONNX Runtime's `quantize_dynamic`, which rounds activations to 8 bits too"
PEER_DTYPE = "int8"
"""The format in which onnxruntime-web and Transformers.js are fastest on processors."""

Row = dict[str, Any]


def cases(model: str) -> Iterator[tuple[str, Dtype, dict[str, Any]]]:
    """What is measured of ``model``: how it is called, the dtype and the options of the conversion."""
    calibration = (DATA / "calibration.txt").read_text()
    if model == DECODER:
        yield "blocks of the GGUF file, exactly", Dtype.Q4, {}
        yield "blocks of the GGUF file, and rounded anew", Dtype.Q8, {}
        yield "`--embedding-bits 4`", Dtype.Q4, {"embedding_bits": 4}
        yield "`--target-size 85MB`", Dtype.Q4, {"target_bytes": 85 * MEGABYTE}
    else:
        yield "`--method rtn`", Dtype.Q8, {}
        yield "`--block-size 32`", Dtype.Q8, {"block_size": 32}
    for method in ANEW:
        options: dict[str, Any] = {"recipe": parse_recipe({"*": {"method": method}}, "benchmark")}
        text = {"calibration_text": calibration} if method == "gptq" else {}
        yield (
            f"all weights rounded anew, `{method}`" if model == DECODER else f"`--method {method}`",
            Dtype.Q4,
            {
                **options,
                **text,
            },
        )


def keys(model: str) -> list[tuple[str, str]]:
    """Dtype and name of the rows of ``model``, in their order."""
    return [*((str(dtype), name) for name, dtype, _ in cases(model)), (PEER_DTYPE, PEER)]


def measure(model: str, folder: Path, only: str) -> list[Row]:
    """The rows of ``model`` whose name holds ``only``, each compared with fp32."""
    exact = folder / f"{model}-exact"
    text = (DATA / "english.txt").read_text()
    convert(f"bundled:{model}", exact, dtypes=[Dtype.FP32], progress=SilentProgress())
    reference = perplexity(exact, "fp32", text, max_tokens=MAX_TOKENS).perplexity if model == DECODER else 0.0
    rows = []
    for name, out, dtype, download_bytes in variants(model, exact, folder, only):
        row: Row = {"how": name, "dtype": PEER_DTYPE if name == PEER else dtype, "download_bytes": download_bytes}
        if model == DECODER:
            row |= decoder_figures(out, dtype, exact, text, reference)
        else:
            row |= encoder_figures(out, dtype, exact, text)
        rows.append({key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def variants(model: str, exact: Path, folder: Path, only: str) -> Iterator[tuple[str, Path, Dtype, int]]:
    """Name, model directory, dtype and download of each variant whose name holds ``only``, made one after the other."""
    for number, (name, dtype, options) in enumerate(cases(model)):
        if only in name:
            out = folder / f"{model}-{number}"
            report = convert(f"bundled:{model}", out, dtypes=[dtype], progress=SilentProgress(), **options)
            yield name, out, dtype, report.manifest.variant(dtype).download_bytes
    if only in PEER:
        out = folder / f"{model}-peer"
        variant = manifest.load(exact).variant(Dtype.FP32)
        shutil.copytree(exact, out, ignore=shutil.ignore_patterns(*(Path(path).name for path in variant.own_files)))
        write_dynamic_int8(exact / variant.graph, out / variant.graph)
        files = [*(path for path in variant.files if path not in variant.own_files), variant.graph]
        yield PEER, out, Dtype.FP32, sum((out / path).stat().st_size for path in files)


def decoder_figures(out: Path, dtype: str, exact: Path, text: str, reference: float) -> Row:
    """Perplexity and its ratio to the one of fp32, ``reference``; divergence and agreement."""
    found = perplexity(out, dtype, text, max_tokens=MAX_TOKENS).perplexity
    compared = agreement(out, dtype, (exact, "fp32"), text, max_tokens=MAX_TOKENS)
    return {
        "perplexity": found,
        "ratio": found / reference,
        "mean_kl_nats": compared.mean_kl_nats,
        "top1_agreement": compared.top1_agreement,
    }


def encoder_figures(out: Path, dtype: str, exact: Path, text: str) -> Row:
    """Cosine of embeddings, and how often the nearest other sentence stays the nearest."""
    sentences = [" ".join(item.split()) for item in re.split(r"(?<=[.;:])\s+", text)]
    sentences = sorted({item for item in sentences if 30 < len(item) < 400})
    found, reference = embeddings(out, dtype, sentences), embeddings(exact, "fp32", sentences)
    cosines = metrics.cosines(found, reference)
    nearest = [_nearest(vectors) for vectors in (found, reference)]
    return {
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
        "same_nearest": float((nearest[0] == nearest[1]).mean()),
        "sentences": len(sentences),
    }


def _nearest(vectors: metrics.FloatArray) -> Any:
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1)
    return likeness.argmax(axis=1)


COLUMNS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    DECODER: (
        ("perplexity", "perplexity", ".2f"),
        ("ratio", "ratio to fp32", ".3f"),
        ("mean_kl_nats", "KL, nats", ".4f"),
        ("top1_agreement", "same next token", ".1%"),
    ),
    ENCODER: (
        ("mean_cosine", "mean cosine", ".4f"),
        ("min_cosine", "least cosine", ".4f"),
        ("same_nearest", "same nearest sentence", ".1%"),
    ),
}


def render(stored: Mapping[str, Any]) -> str:
    """The tables, as they stand in docs/quality.md."""
    parts = []
    for model, columns in COLUMNS.items():
        head = ["dtype", "how", "download", *(title for _, title, _ in columns)]
        lines = [f"### {model}", "", "| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
        for row in stored["models"][model]:
            cells = [row["dtype"], row["how"], f"{row['download_bytes'] / MEGABYTE:.1f} MB"]
            cells += [format(row[key], shape) for key, _, shape in columns]
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    made = f"Made by `python -m benchmarks.quality` of version {stored['version']}, on {stored['date']}."
    return "\n\n".join([*parts, made])


def write_page(stored: Mapping[str, Any]) -> None:
    """Put the tables between the marks of docs/quality.md."""
    before, mark, rest = PAGE.read_text().partition("<!-- tables -->\n")
    _, end, after = rest.partition("<!-- end of tables -->\n")
    assert mark, PAGE
    assert end, PAGE
    PAGE.write_text(f"{before}{mark}\n{render(stored)}\n\n{end}{after}")


def main() -> None:
    """Measure and write, or only write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="render what is stored")
    parser.add_argument("--only", default="", help="rows whose description holds this; the others stay as stored")
    parser.add_argument("--date", help="of the measurement, for the page")
    arguments = parser.parse_args()
    if not arguments.report:
        earlier = json.loads(STORED.read_bytes())["models"] if arguments.only else {}
        models = {}
        with tempfile.TemporaryDirectory(prefix="featherweight-quality-") as folder:
            for model in (DECODER, ENCODER):
                measured = [*earlier.get(model, []), *measure(model, Path(folder), arguments.only)]
                rows = {(row["dtype"], row["how"]): row for row in measured}
                models[model] = [rows[key] for key in keys(model)]
        stored = {"version": __version__, "date": arguments.date, "models": models}
        STORED.write_text(json.dumps(stored, indent=1) + "\n")
    write_page(json.loads(STORED.read_bytes()))


if __name__ == "__main__":
    main()
