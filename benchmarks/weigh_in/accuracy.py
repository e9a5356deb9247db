"""Owns the arithmetic of errors: of predictions, of the intervals that are made of them, and of verdicts."""

import json
import math
import statistics
from typing import Any

from benchmarks.model_files import ROOT
from convert.fit.verdict import conformal_factor

METRICS = ("load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes")
CALIBRATED = 40
"""Scores that are kept of each metric."""
Record = dict[str, Any]


def key(record: Record) -> tuple[Any, ...]:
    """What the rounds of one combination have in common."""
    return tuple(record[name] for name in ("limits", "model", "dtype", "threads", "context", "tuned"))


def error(record: Record, metric: str) -> float | None:
    """(predicted - measured) / measured, or None where there is no such metric."""
    predicted, measured = record.get("predicted", {}).get(metric), record.get("measured", {}).get(metric)
    return None if predicted is None or measured is None else float(predicted / measured - 1)


def summary(records: list[Record], others: list[Record]) -> dict[str, dict[str, float]]:
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


def is_inside(record: Record, metric: str, others: list[Record]) -> bool:
    """Whether a measurement lies in the interval that the errors of the other combinations make."""
    scores = [score(other, metric) for other in others if key(other) != key(record)]
    own = score(record, metric)
    return own is not None and own <= math.log(conformal_factor([value for value in scores if value is not None]))


def score(record: Record, metric: str) -> float | None:
    """|log(predicted / measured)|, which an interval bounds."""
    found = error(record, metric)
    return None if found is None else abs(math.log1p(found))


def is_true(record: Record) -> bool:
    """Whether it ran where the verdict said so, and failed where it said no."""
    return bool(record["supported"] == record["ran"])


def spread(ordered: list[float], most: int) -> list[float]:
    """So many of them at equal distances, the smallest and the largest among them."""
    if len(ordered) <= most:
        return ordered
    return [ordered[round(at * (len(ordered) - 1) / (most - 1))] for at in range(most)]


def calibrate(records: list[Record]) -> None:
    """Write the scores of all combinations for both languages."""
    scores = {}
    for metric in METRICS:
        found = sorted(round(value, 3) for record in records if (value := score(record, metric)) is not None)
        scores[metric] = spread(found, CALIBRATED)
    lines = [f' "{metric}": {json.dumps(values)}' for metric, values in scores.items()]
    (ROOT / "convert" / "fit" / "calibration.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    target = ROOT / "static" / "device" / "calibration.js"
    before = target.read_text().split("Object.freeze({\n")[0]
    rows = "".join(f"  {metric}: {json.dumps(values)},\n" for metric, values in scores.items())
    target.write_text(f"{before}Object.freeze({{\n{rows}}});\n")
