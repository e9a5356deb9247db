"""Owns the form of a receipt: what a posted one may hold, and the flat row that is kept of it."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator

LIMIT_BYTES = 4096
"""A receipt takes about 1 kB."""
METRICS = ("load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes")
DEVICE_CLASSES = ("platform", "browser", "cores", "memory_gib", "bandwidth_gb_per_s", "wasm", "isolated", "gpu")

_SIGNIFICANT_DIGITS = 3  # enough to compare speeds, too few to recognize a device by


class BadReceipt(ValueError):
    """A posted receipt is refused; the message says what was found, where, and what was expected."""


def parse(body: bytes) -> dict[str, Any]:
    """Check the bytes of a posted receipt (receipt.schema.json) and return it.

    Raises:
        BadReceipt: too large, no JSON, NaN or Infinity, a key twice, a field missing, unknown or out of its range.
    """
    if len(body) > LIMIT_BYTES:
        raise BadReceipt(f"the receipt has {len(body)} bytes, at most {LIMIT_BYTES} are taken")
    try:
        receipt = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadReceipt(f"the receipt is no JSON: {error}") from error
    defect = min(_validator().iter_errors(receipt), key=lambda found: str(found.json_path), default=None)
    if defect is not None:
        raise BadReceipt(f"the receipt's {defect.json_path} is refused: {defect.message[:200]}")
    for name, interval in receipt["predicted"].items():
        if interval and interval != sorted(interval):
            raise BadReceipt(f"the receipt's $.predicted.{name} is refused: expected [low, expected, high], ascending")
    return dict(receipt)


def flatten(receipt: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a checked receipt: one scalar a column, quantities rounded to three significant digits."""
    run = {name: value if name == "backend" else int(value) for name, value in receipt["run"].items()}  # 2.0 is 2
    row: dict[str, Any] = {"id": receipt["id"], **run}
    row |= {"model": receipt["model"]["id"], "revision": receipt["model"]["revision"]}
    row["dtype"] = receipt["model"]["dtype"]
    row |= {name: receipt["device"][name] for name in DEVICE_CLASSES}
    for name in METRICS:
        low, expected, high = receipt["predicted"][name] or (None, None, None)
        row |= {
            f"predicted_low_{name}": _rounded(low),
            f"predicted_{name}": _rounded(expected),
            f"predicted_high_{name}": _rounded(high),
            f"measured_{name}": _rounded(receipt["measured"][name]),
        }
    return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_SIGNIFICANT_DIGITS}g}")


def _refuse_constant(name: str) -> NoReturn:
    raise BadReceipt(f"the receipt holds {name}, which is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadReceipt("the receipt names a key twice")
    return found


@cache
def _validator() -> Any:
    schema = json.loads(Path(__file__).with_name("receipt.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
