"""Owns the digest of all receipts: which model on which class of device, how fast, and how far predictions were off."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from webapp.measurements.receipt import DEVICE_CLASSES, METRICS

POINTS_LIMIT = 2000
"""Pairs of prediction and measurement that a plot gets, the newest first."""
_FIRST = "time_to_first_token_s"
_QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

Row = Mapping[str, Any]


def summarize(rows: Iterable[Row]) -> dict[str, Any]:
    """Digest rows of the store.

    Returns:
        ``count``; ``groups``, one for each model, dtype, backend, thread count and device class, with quantiles of
        every metric; ``accuracy``, for every metric the median and 90th percentile of |measured - predicted| / measured
        and the share of measurements inside the predicted interval, with the time of texts (``encode_s``) apart from
        that of first tokens; ``points`` for a plot, of the speed of answers and, for encoders, of reading.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    kept = list(rows)
    keys = ("model", "dtype", "backend", "threads", *DEVICE_CLASSES)
    for row in kept:
        groups[tuple(row[key] for key in keys)].append(row)
    return {
        "count": len(kept),
        "groups": [
            {
                **dict(zip(keys[:4], key[:4], strict=True)),
                "device": dict(zip(DEVICE_CLASSES, key[4:], strict=True)),
                "count": len(members),
                **{name: _quantiles(_column(members, f"measured_{name}")) for name in METRICS},
            }
            for key, members in sorted(groups.items(), key=lambda item: tuple(map(str, item[0])))
        ],
        "accuracy": {name: _accuracy(_of_kind(kept, name), name) for name in METRICS}
        | {"encode_s": _accuracy([row for row in kept if _is_of_encoder(row)], _FIRST)},
        "points": [point for row in kept if (point := _point(row))][:POINTS_LIMIT],
    }


def _is_of_encoder(row: Row) -> bool:
    """Encoders write nothing; their time to the first token is that of the whole call."""
    return bool(row["generated_tokens"] == 0)


def _of_kind(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if not _is_of_encoder(row)] if name == _FIRST else rows


def _point(row: Row) -> dict[str, Any] | None:
    name = "prefill_tokens_per_s" if _is_of_encoder(row) else "decode_tokens_per_s"
    predicted, measured = row[f"predicted_{name}"], row[f"measured_{name}"]
    if predicted is None or measured is None:
        return None
    return {"model": row["model"], "dtype": row["dtype"], "predicted": predicted, "measured": measured}


def _column(rows: Iterable[Row], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None]


def _quantiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {name: float(np.quantile(values, level)) for name, level in _QUANTILES.items()}


def _accuracy(rows: list[Row], name: str) -> dict[str, float] | None:
    pairs = [row for row in rows if row[f"predicted_{name}"] is not None and row[f"measured_{name}"] is not None]
    if not pairs:
        return None
    errors = [abs(row[f"measured_{name}"] - row[f"predicted_{name}"]) / row[f"measured_{name}"] for row in pairs]
    inside = [row[f"predicted_low_{name}"] <= row[f"measured_{name}"] <= row[f"predicted_high_{name}"] for row in pairs]
    return {
        "count": len(pairs),
        "median_error": float(np.quantile(errors, 0.5)),
        "p90_error": float(np.quantile(errors, 0.9)),
        "inside_interval": float(np.mean(inside)),
    }
