"""Owns how one file becomes an HTTP answer: validators, conditions, ranges and a body of constant memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

from flask import Response, request
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from webapp.byte_ranges import ByteRange, requested_range
from webapp.file_window import READ_BYTES, FileWindow

IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file and the headers that it is served with."""

    opener: Callable[[], BinaryIO]
    """Opens it for reading; called only when its first byte is sent, and may raise OSError then."""
    size_bytes: int
    etag: str
    """Strong validator, without quotes: equal exactly when the bytes are equal."""
    content_type: str
    cache_control: str


def respond(file: ServedFile) -> Response:
    """Answer the current GET or HEAD request with ``file``: 200, 206 or 304; the body is never encoded.

    Raises PreconditionFailed (412) and RequestedRangeNotSatisfiable (416).
    """
    quoted_etag = f'"{file.etag}"'
    if "If-Match" in request.headers and not request.if_match.contains(file.etag):
        raise PreconditionFailed("the file is no longer the one that If-Match names")
    response = Response(content_type=file.content_type)
    response.headers["ETag"] = quoted_etag
    response.headers["Cache-Control"] = file.cache_control
    response.headers["Accept-Ranges"] = "bytes"
    if request.if_none_match.contains_weak(file.etag):
        response.status_code = 304
        del response.headers["Content-Type"]
        return response
    wanted = _wanted(file, quoted_etag)
    if isinstance(wanted, ByteRange):
        response.status_code = 206
        response.headers["Content-Range"] = wanted.content_range(file.size_bytes)
    else:
        wanted = ByteRange(0, file.size_bytes)
    response.headers["Content-Length"] = str(wanted.stop - wanted.start)
    if request.method == "GET":
        window = cast(BinaryIO, FileWindow(file.opener, wanted.start, wanted.stop))
        response.response = wrap_file(request.environ, window, READ_BYTES)
        response.direct_passthrough = True
    return response


def _wanted(file: ServedFile, quoted_etag: str) -> ByteRange | None:
    """Bytes that the current request is to get; None means all, also for HEAD, for which the RFC defines no ranges."""
    if request.method != "GET" or request.headers.get("If-Range", quoted_etag).strip() != quoted_etag:
        return None
    wanted = requested_range(request.headers.get("Range"), file.size_bytes)
    if wanted == "unsatisfiable":
        raise RequestedRangeNotSatisfiable(
            file.size_bytes, description="no byte of the file lies in the range asked for"
        )
    return wanted if isinstance(wanted, ByteRange) else None
