"""Owns the digest of all receipts: which model on which class of device, how fast, and how far predictions were off."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from webapp.measurements.receipt import DEVICE_CLASSES, METRICS

POINTS_LIMIT = 2000
"""Pairs of prediction and measurement that a plot gets, the newest first."""
_QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

Row = Mapping[str, Any]


def summarize(rows: Iterable[Row]) -> dict[str, Any]:
    """Digest rows of the store.

    Returns:
        ``count``; ``groups``, one for each model, dtype, backend, thread count and device class, with quantiles of
        every metric; ``accuracy``, for every metric the median and 90th percentile of |measured - predicted| / measured
        and the share of measurements inside the predicted interval; ``points`` for a plot.
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
        "accuracy": {name: _accuracy(kept, name) for name in METRICS},
        "points": [
            {
                "model": row["model"],
                "dtype": row["dtype"],
                "predicted": row["predicted_decode_tokens_per_s"],
                "measured": row["measured_decode_tokens_per_s"],
            }
            for row in kept
            if row["predicted_decode_tokens_per_s"] is not None and row["measured_decode_tokens_per_s"] is not None
        ][:POINTS_LIMIT],
    }


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
