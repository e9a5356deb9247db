"""Owns the reading of the Range header: which bytes of a file one request asks for (RFC 9110, section 14)."""

import re
from dataclasses import dataclass
from typing import Literal

_RANGE_SET = re.compile(r"bytes=(?P<ranges>.*)", re.IGNORECASE | re.ASCII)
_RANGE = re.compile(r"(?P<first>\d{0,20})-(?P<last>\d{0,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to, but without, ``stop``; never empty."""

    start: int
    stop: int

    def content_range(self, size_bytes: int) -> str:
        """Value of the Content-Range header, where ``size_bytes`` is the length of the whole file."""
        return f"bytes {self.start}-{self.stop - 1}/{size_bytes}"


def requested_range(header: str | None, size_bytes: int) -> ByteRange | Literal["whole", "unsatisfiable"]:
    """Say which bytes of a file of ``size_bytes`` the Range ``header`` asks for.

    "whole" when there is no header, when it is malformed or of another unit (the RFC has those ignored), and when it
    asks for several ranges: a server may answer these with the whole file, and no client of ours needs multipart.
    "unsatisfiable" (status 416) when no byte of the file lies in the range.
    """
    range_set = _RANGE_SET.fullmatch((header or "").strip())
    if range_set is None:
        return "whole"
    ranges = [item.strip(" \t") for item in range_set["ranges"].split(",")]
    ranges = [item for item in ranges if item]  # empty list elements are to be ignored
    match = _RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
    if match is None or ranges[0] == "-":
        return "whole"
    if not match["first"]:
        start, stop = max(size_bytes - int(match["last"]), 0), size_bytes
    else:
        start, stop = int(match["first"]), size_bytes
        if match["last"]:
            last = int(match["last"])
            if last < start:
                return "whole"
            stop = min(last + 1, size_bytes)
    return ByteRange(start, stop) if start < stop else "unsatisfiable"
