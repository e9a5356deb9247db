"""Owns /api/measurements: takes receipts of those who chose to share them, and gives all of them back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from time import time
from typing import cast

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    RequestEntityTooLarge,
    ServiceUnavailable,
    TooManyRequests,
    UnprocessableEntity,
    UnsupportedMediaType,
)

from webapp.catalog import current_catalog
from webapp.measurements import receipt
from webapp.measurements.export import NoParquet, csv_lines, parquet_bytes
from webapp.measurements.store import Outcome, ReceiptStore, StoreError
from webapp.measurements.summary import summarize

blueprint = Blueprint("measurements", __name__)

SUMMARY_LIMIT = 100_000
"""Receipts that a summary is made of, the newest first."""
_EXTENSION = "featherweight.measurements"


@dataclass(frozen=True)
class _Collection:
    """What an app keeps to take receipts."""

    store: ReceiptStore
    limiter: FixedWindowRateLimiter
    rate: RateLimitItem


def init_app(app: Flask) -> None:
    """Give ``app`` its store of receipts, and the limit on how many one address may post."""
    store = ReceiptStore(app.config["MEASUREMENTS_URL"])
    rate = parse(app.config["MEASUREMENTS_RATE"])
    app.extensions[_EXTENSION] = _Collection(store, FixedWindowRateLimiter(MemoryStorage()), rate)


@blueprint.post("/api/measurements")
def post_receipt() -> tuple[Response, int]:
    """Store one receipt: 201 when it is new, 200 when it is stored already, 4xx when it is refused."""
    _check_rate()
    if request.mimetype != "application/json":
        raise UnsupportedMediaType(
            f"a receipt is posted as application/json, not {request.mimetype or 'without a type'}"
        )
    if (request.content_length or 0) > receipt.LIMIT_BYTES:
        raise RequestEntityTooLarge(f"a receipt has at most {receipt.LIMIT_BYTES} bytes")
    try:
        found = receipt.parse(request.get_data())
    except receipt.BadReceipt as error:
        raise BadRequest(f"{error}.") from error
    _check_model(**found["model"])
    with _database():
        outcome = _store().add(receipt.flatten(found))
    if outcome is Outcome.CONFLICT:
        raise Conflict(f"another receipt is stored under the id {found['id']}; make a new id for every receipt")
    response = jsonify(id=found["id"], status=outcome.value)
    response.headers["Cache-Control"] = "no-store"
    return response, 201 if outcome is Outcome.STORED else 200


@blueprint.get("/api/measurements")
def summary() -> Response:
    """Digest of the receipts: see `summarize`."""
    with _database():
        response = jsonify(summarize(_store().rows(SUMMARY_LIMIT)))
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/api/measurements.csv")
def export_csv() -> Response:
    """Every receipt as a line of CSV."""
    with _database():
        lines = csv_lines(_store().rows())
        first = next(lines)  # a database that does not answer has to be known before the status is sent

    def stream() -> Iterator[str]:
        yield first
        yield from lines

    return _download(Response(stream(), content_type="text/csv; charset=utf-8"), "measurements.csv")


@blueprint.get("/api/measurements.parquet")
def export_parquet() -> Response:
    """Every receipt as a row of Parquet."""
    try:
        with _database():
            content = parquet_bytes(_store().rows())
    except NoParquet as error:
        raise NotImplementedError(str(error)) from error
    return _download(Response(content, content_type="application/vnd.apache.parquet"), "measurements.parquet")


def _check_model(id: str, revision: str, dtype: str) -> None:
    """Refuse receipts of what this server does not offer."""
    served = next((model for model in current_catalog().models() if model.name == id), None)
    if served is None:
        raise UnprocessableEntity(f"this server has no model {id!r}; it takes receipts of its own models only")
    if served.revision != revision:
        raise UnprocessableEntity(f"{id} is served at revision {served.revision}, the receipt is of {revision}")
    if dtype not in {str(variant.dtype) for variant in served.manifest.variants}:
        raise UnprocessableEntity(f"{id} is not served as {dtype}")


def _check_rate() -> None:
    """Refuse an address that posts more than any page does; refused posts count as well."""
    kept = _collection()
    address = request.remote_addr or "unknown"
    if not kept.limiter.hit(kept.rate, address):
        reset = kept.limiter.get_window_stats(kept.rate, address).reset_time
        raise TooManyRequests(f"at most {kept.rate} are taken", retry_after=max(1, ceil(reset - time())))


def _collection() -> _Collection:
    return cast(_Collection, current_app.extensions[_EXTENSION])


def _store() -> ReceiptStore:
    return _collection().store


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        current_app.logger.error("%s", error)
        raise ServiceUnavailable("the database of measurements does not answer; try again later") from error


def _download(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f"attachment; filename={name}"
    response.headers["Cache-Control"] = "no-cache"
    return response
