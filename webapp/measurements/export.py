"""Owns the files that all receipts are handed out as: CSV and Parquet, one row a receipt."""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from tempfile import TemporaryFile
from typing import Any

from convert.errors import FeatherweightError
from webapp.measurements.store import COLUMNS, RECEIPTS

_BATCH_ROWS = 1000


class NoParquet(FeatherweightError):
    """The library that writes Parquet is not installed."""


def csv_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """CSV (RFC 4180) with a header; an empty field is null."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if row[name] is None else row[name] for name in COLUMNS])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def parquet_bytes(rows: Iterable[dict[str, Any]]) -> bytes:
    """Write an Apache Parquet file, a thousand rows a row group.

    Raises:
        NoParquet: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise NoParquet("Parquet needs pyarrow: pip install 'featherweight[parquet]', or take the CSV") from error
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    schema = arrow.schema(
        (column.name, types.get(column.type.python_type, arrow.date32())) for column in RECEIPTS.columns
    )
    with TemporaryFile() as file:
        with parquet.ParquetWriter(file, schema) as writer:
            remaining = iter(rows)
            while batch := list(islice(remaining, _BATCH_ROWS)):
                writer.write_table(arrow.Table.from_pylist(batch, schema))
        file.seek(0)
        return file.read()
