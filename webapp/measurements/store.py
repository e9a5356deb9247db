"""Owns the table of receipts, on SQLite or PostgreSQL: each is stored exactly once, whoever posts it how often."""

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from convert.errors import FeatherweightError
from webapp.measurements.receipt import METRICS

_BUSY_SECONDS = 60
"""How long a writer waits for SQLite's one write lock."""

_METADATA = sql.MetaData()
RECEIPTS = sql.Table(
    "receipts",
    _METADATA,
    sql.Column("id", sql.String(36), primary_key=True),
    sql.Column("received_on", sql.Date, nullable=False, index=True),  # a day: no time of use is kept
    sql.Column("model", sql.String(200), nullable=False),
    sql.Column("revision", sql.String(64), nullable=False),
    *(sql.Column(name, sql.String(16), nullable=False) for name in ("dtype", "backend")),
    *(sql.Column(name, sql.Integer, nullable=False) for name in ("threads", "prompt_tokens", "generated_tokens")),
    *(
        sql.Column(name, sql.String(16), nullable=False)
        for name in ("platform", "browser", "cores", "memory_gib", "bandwidth_gb_per_s", "wasm")
    ),
    sql.Column("isolated", sql.Boolean, nullable=False),
    sql.Column("gpu", sql.String(16), nullable=False),
    *(
        sql.Column(f"{kind}_{name}", sql.Double)
        for name in METRICS
        for kind in ("predicted_low", "predicted", "predicted_high", "measured")
    ),
)
COLUMNS = tuple(column.name for column in RECEIPTS.columns)


class StoreError(FeatherweightError):
    """The database cannot be opened or does not answer."""


class Outcome(Enum):
    """What became of a receipt."""

    STORED = "stored"
    KNOWN = "known"
    CONFLICT = "conflict"


class ReceiptStore:
    """Receipts behind a database URL; connects when it is first used."""

    def __init__(self, url: str) -> None:
        """Raises StoreError when ``url`` is no database URL."""
        try:
            self._url: URL = make_url(url)
        except sql.exc.ArgumentError as error:
            raise StoreError(
                f"{url!r} is no database URL; expected sqlite:///FILE or postgresql+psycopg://..."
            ) from error
        self._lock = Lock()
        self._engine: sql.Engine | None = None

    def add(self, row: dict[str, Any]) -> Outcome:
        """Store a row of `receipt.flatten`; the same row again changes nothing, another under its id is a conflict.

        Raises:
            StoreError: the database does not answer.
        """
        try:
            with self._connected().begin() as connection:
                connection.execute(RECEIPTS.insert().values(**row, received_on=datetime.now(UTC).date()))
            return Outcome.STORED
        except IntegrityError:
            return Outcome.KNOWN if self._same(row) else Outcome.CONFLICT
        except SQLAlchemyError as error:
            raise _unreachable(error) from error

    def rows(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """All rows, the newest day first, in an order that does not change between calls."""
        query = RECEIPTS.select().order_by(RECEIPTS.c.received_on.desc(), RECEIPTS.c.id).limit(limit)
        try:
            with self._connected().connect().execution_options(yield_per=1000) as connection:
                for row in connection.execute(query):
                    yield dict(row._mapping)
        except SQLAlchemyError as error:
            raise _unreachable(error) from error

    def close(self) -> None:
        """Give the connections back."""
        if self._engine is not None:
            self._engine.dispose()

    def _same(self, row: dict[str, Any]) -> bool:
        with self._connected().connect() as connection:
            found = connection.execute(RECEIPTS.select().where(RECEIPTS.c.id == row["id"])).mappings().first()
        return found is not None and all(found[name] == value for name, value in row.items())

    def _connected(self) -> sql.Engine:
        with self._lock:
            if self._engine is None:
                self._engine = _open(self._url)
            return self._engine


def _open(url: URL) -> sql.Engine:
    """An engine whose table exists."""
    try:
        if url.get_backend_name() == "sqlite":
            if url.database and url.database != ":memory:":
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            engine = sql.create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
            sql.event.listen(engine, "connect", _write_ahead)
        else:
            engine = sql.create_engine(url, pool_pre_ping=True)
        _METADATA.create_all(engine)
    except (SQLAlchemyError, OSError, ModuleNotFoundError) as error:
        raise _unreachable(error) from error
    return engine


def _write_ahead(connection: Any, _record: object) -> None:
    """Let readers and the one writer work at the same time (SQLite, "Write-Ahead Logging")."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _unreachable(error: Exception) -> StoreError:
    reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return StoreError(f"the database of measurements does not answer ({reason}); check the URL given to --measurements")
