"""Holds predictions against measurements: the page's verdict before the download, and what the same page then measures.

    python -m benchmarks.weigh_in [--gemma MODEL_DIR] [--rounds 3] [--json FILE] [--calibrate]
    python -m benchmarks.weigh_in --report [--json FILE] [--write]

Every combination of model, dtype, threads and context gets a fresh probe, a verdict, the real download and real runs in
one Chromium. The constants of the cost model were chosen by the combinations that say so. `--calibrate` writes all
errors to where the intervals are made of them (static/device/calibration.js, convert/fit/calibration.json); the share
inside is leave-one-out: each run is judged by an interval made of the others.
"""

import argparse
import json
import math
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks import machine
from benchmarks.model_files import DISTILBERT, MINILM, MODELS, ROOT, SMOLLM2
from benchmarks.model_files import prepare as prepare_models
from convert.fit.verdict import conformal_factor
from e2e.conftest import FLAGS, chromium_path, serving
from tests.true_shapes import GEMMA_2B, write_gemma

SHAPES = {
    "gemma-shape-60m": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "vocab_size": 32000},
    "gemma-shape-300m": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 14, "vocab_size": 64000},
}
"""Decoders of other shapes, with random weights."""
DOCUMENT = ROOT / "docs" / "weigh_in.md"
BEGIN = "<!-- weigh-in: written by `python -m benchmarks.weigh_in --report --write` -->"
END = "<!-- /weigh-in -->"
SCRIPT = (ROOT / "benchmarks" / "pages" / "weigh_in.js").read_text()
METRICS = ("load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes")
CALIBRATED = 40
"""Scores that are kept of each metric."""


@dataclass(frozen=True)
class Combination:
    """One row: what is weighed, and whether the cost model was tuned on it."""

    model: str
    dtype: str
    threads: int
    context: int
    tuned: bool = False


def combinations(gemma: bool) -> list[Combination]:
    """All of them; the tuned ones first."""
    rows = [Combination(SMOLLM2, "q4", threads, context, tuned=True) for threads in (1, 2) for context in (128, 2048)]
    rows += [Combination(MINILM, "q8", threads, 128, tuned=True) for threads in (1, 2)]
    rows += [Combination(SMOLLM2, "q8", threads, 128) for threads in (1, 2)]
    rows += [Combination(MINILM, "fp32", threads, 128) for threads in (1, 2)]
    rows += [Combination(DISTILBERT, "q8", threads, 128) for threads in (1, 2)]
    rows += [Combination(name, "q4", 2, context) for name in SHAPES for context in (128, 2048)]
    rows += [Combination("gemma-shape-300m", "q8", 1, 128)]
    if gemma:
        rows += [Combination("gemma-2b", "q4", 2, 128), Combination("gemma-2b", "q4", 1, 128)]
    return rows


def prepare(gemma: Path | None) -> None:
    """Convert what is missing under build/bench/models."""
    prepare_models(lambda line: print(line, file=sys.stderr))
    for name, sizes in SHAPES.items():
        if not (MODELS / name).exists():
            checkpoint = ROOT / "build" / "bench" / "checkpoints" / name
            write_gemma(checkpoint, {**GEMMA_2B, **sizes, "num_attention_heads": 4, "num_key_value_heads": 1})
            _convert(checkpoint, MODELS / name, "q4", "q8")
    if gemma and not (MODELS / "gemma-2b").exists():
        (MODELS / "gemma-2b").symlink_to(gemma.resolve())


def _convert(source: Path, target: Path, *dtypes: str) -> None:
    from convert.cli import main

    options = [option for dtype in dtypes for option in ("--dtype", dtype)]
    try:
        main(["convert", str(source), str(target), *options])
    except SystemExit as done:
        if done.code:
            raise


def measure(rounds: int, rows: list[Combination]) -> list[dict[str, Any]]:
    """A record for each row and round: what was predicted, what was measured."""
    records = []
    with sync_playwright() as playwright, serving(MODELS) as url:
        for round_number in range(rounds):
            for row in rows:
                busy = machine.busy_share()
                browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
                page = browser.new_page()
                page.set_default_timeout(600_000)
                page.goto(f"{url}/healthz")
                request = {**asdict(row), "manifest": f"/{row.model}/resolve/main/manifest.json"}
                found = page.evaluate(SCRIPT, request)
                browser.close()
                records.append({**asdict(row), "round": round_number, "busy_before": busy, **found})
                print(_line(records[-1]), file=sys.stderr, flush=True)
    return records


def _line(record: dict[str, Any]) -> str:
    errors = {metric: error(record, metric) for metric in METRICS}
    told = ", ".join(f"{metric} {100 * value:+.0f} %" for metric, value in errors.items() if value is not None)
    return f"{record['model']} {record['dtype']} {record['threads']}T {record['context']}: {told}"


def error(record: dict[str, Any], metric: str) -> float | None:
    """(predicted - measured) / measured, or None where there is no such metric."""
    predicted, measured = record["predicted"][metric], record["measured"][metric]
    return None if predicted is None or measured is None else float(predicted / measured - 1)


def summary(records: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median and 90th percentile of the error, and the share inside the interval made of ``others``, by metric."""
    found = {}
    for metric in METRICS:
        errors = sorted(abs(value) for record in records if (value := error(record, metric)) is not None)
        if not errors:
            continue
        inside = [is_inside(record, metric, others) for record in records if error(record, metric) is not None]
        found[metric] = {
            "count": len(errors),
            "median_error": statistics.median(errors),
            "p90_error": errors[math.ceil(0.9 * len(errors)) - 1],
            "inside": sum(inside) / len(inside),
        }
    return found


def is_inside(record: dict[str, Any], metric: str, others: list[dict[str, Any]]) -> bool:
    """Whether a measurement lies in the interval that the errors of the other runs make."""
    scores = [score(other, metric) for other in others if other is not record]
    own = score(record, metric)
    return own is not None and own <= math.log(conformal_factor([value for value in scores if value is not None]))


def score(record: dict[str, Any], metric: str) -> float | None:
    """|log(predicted / measured)|, which an interval bounds."""
    found = error(record, metric)
    return None if found is None else abs(math.log1p(found))


def table(records: list[dict[str, Any]]) -> str:
    """Markdown: a line for each combination, medians of its rounds, predicted / measured."""
    head = (
        "model",
        "dtype",
        "threads",
        "context",
        "",
        "decode, tokens/s",
        "prefill, tokens/s",
        "memory, MB",
        "load, s",
    )
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    keys = {(item["model"], item["dtype"], item["threads"], item["context"], item["tuned"]): None for item in records}
    for key in keys:
        same = [item for item in records if (item["model"], item["dtype"], item["threads"], item["context"]) == key[:4]]
        cells = [*map(str, key[:4]), "tuned" if key[4] else "held out"]
        for metric, scale in (("decode_tokens_per_s", 1), ("prefill_tokens_per_s", 1), ("peak_memory_bytes", 1e-6)):
            cells.append(_pair(same, metric, scale))
        lines.append(f"| {' | '.join([*cells, _pair(same, 'load_s', 1)])} |")
    return "\n".join(lines)


def _pair(records: list[dict[str, Any]], metric: str, scale: float) -> str:
    if records[0]["measured"][metric] is None:
        return "-"
    values = [statistics.median(item[kind][metric] for item in records) * scale for kind in ("predicted", "measured")]
    return " / ".join(f"{value:.3g}" for value in values)


def report(document: dict[str, Any]) -> str:
    """Markdown: conditions, the errors of tuned and held-out combinations, and every row."""
    records = document["records"]
    facts = document["machine"]
    busy = [100 * item["busy_before"] for item in records]
    lines = [
        f"{facts['cores']} cores of {facts['cpu']}, Chromium {document['versions']['chromium']}, {document['date']}, "
        f"medians of {document['rounds']} rounds, a fresh probe and a fresh browser for each. Before a run other "
        f"processes had {statistics.median(busy):.0f} % of the cores (at most {max(busy):.0f} %). The cost model was "
        "tuned on the combinations that say so, and on no other. Loads are from the browser's own store.",
        "",
        "| | runs | median error | 90th percentile | inside the 90 % interval (leave-one-out) |",
        "|---|---|---|---|---|",
    ]
    for name, tuned in (("tuned", True), ("held out", False)):
        for metric, found in summary([item for item in records if item["tuned"] is tuned], records).items():
            errors = f"{100 * found['median_error']:.1f} % | {100 * found['p90_error']:.1f} %"
            lines.append(f"| {name}: `{metric}` | {found['count']:.0f} | {errors} | {100 * found['inside']:.0f} % |")
    exact = sum(item["download"]["predicted"] == item["download"]["measured"] for item in records)
    lines += [
        "",
        f"Download bytes were exact in {exact} of {len(records)} runs. Predicted / measured:",
        "",
        table(records),
    ]
    return "\n".join(lines)


def calibrate(records: list[dict[str, Any]]) -> None:
    """Write the scores of all combinations for both languages."""
    scores = {}
    for metric in METRICS:
        found = sorted(round(value, 3) for record in records if (value := score(record, metric)) is not None)
        scores[metric] = found[:: max(1, len(found) // CALIBRATED)]
    lines = [f' "{metric}": {json.dumps(values)}' for metric, values in scores.items()]
    (ROOT / "convert" / "fit" / "calibration.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    target = ROOT / "static" / "device" / "calibration.js"
    before = target.read_text().split("Object.freeze({\n")[0]
    rows = "".join(f"  {metric}: {json.dumps(values)},\n" for metric, values in scores.items())
    target.write_text(f"{before}Object.freeze({{\n{rows}}});\n")


def main() -> None:
    """Measure, print the table and the errors, keep the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gemma", type=Path, help="a converted Gemma 2B; without it those rows are left out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose model holds this text")
    parser.add_argument("--json", type=Path, default=Path("build/bench/weigh_in.json"))
    parser.add_argument("--calibrate", action="store_true", help="write the intervals' scores")
    parser.add_argument("--report", action="store_true", help="measure nothing: tables of the JSON file")
    parser.add_argument("--write", action="store_true", help="with --report: into docs/weigh_in.md")
    options = parser.parse_args()
    if not options.report:
        prepare(options.gemma)
        rows = [row for row in combinations(options.gemma is not None) if options.only in row.model]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=FLAGS)
            facts = machine.facts(browser.version)
            browser.close()
        document = {**facts, "rounds": options.rounds, "records": measure(options.rounds, rows)}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    document = json.loads(options.json.read_text())
    text = report(document)
    print(text)
    if options.write:
        before, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
    if options.calibrate:
        calibrate(document["records"])


if __name__ == "__main__":
    main()
