"""Owns typed access to GGUF metadata: a key has the right type and a sane value, or there is one clear error."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.checkpoint.untrusted import quote
from convert.errors import BadCheckpoint

_INTEGER_LIMIT = 1 << 31


class Metadata:
    """Keys and values of a GGUF file; reads without a default raise BadCheckpoint when the key is missing."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        """Take the values as they were read from ``path``."""
        self.path, self._values = path, values

    def __contains__(self, key: str) -> bool:
        """Whether the file has ``key``."""
        return key in self._values

    def integer(self, key: str, *, default: int | None = None, least: int = 0) -> int:
        """A whole number of at least ``least`` and below 2**31."""
        value = self._get(key, default)
        if type(value) is not int or not least <= value < _INTEGER_LIMIT:
            raise self._wrong(key, value, f"a whole number from {least} on")
        return value

    def number(self, key: str, *, default: float | None = None) -> float:
        """A positive finite number."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise self._wrong(key, value, "a positive number")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if type(value) is not bool:
            raise self._wrong(key, value, "true or false")
        return value

    def text(self, key: str, *, default: str | None = None) -> str:
        """A string."""
        value = self._get(key, default)
        if type(value) is not str:
            raise self._wrong(key, value, "a string")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        value = self._get(key, None)
        if type(value) is not list or not all(type(item) is str for item in value):
            raise self._wrong(key, value, "an array of strings")
        return value

    def integers(self, key: str) -> list[int]:
        """A list of whole numbers."""
        value = self._get(key, None)
        if type(value) is not list or not all(type(item) is int for item in value):
            raise self._wrong(key, value, "an array of whole numbers")
        return value

    def numbers(self, key: str) -> list[float]:
        """A list of finite numbers."""
        value = self._get(key, None)
        if type(value) is not list or not all(type(item) is float and math.isfinite(item) for item in value):
            raise self._wrong(key, value, "an array of finite numbers")
        return value

    def _get(self, key: str, default: Any) -> Any:
        value = self._values.get(key, default)
        if value is None:
            raise BadCheckpoint(
                f"{self.path}: the metadata key {quote(key)} is missing; write the file anew with a current llama.cpp"
            )
        return value

    def _wrong(self, key: str, value: Any, expected: str) -> BadCheckpoint:
        return BadCheckpoint(
            f"{self.path}: the metadata key {quote(key)} is {quote(value)}, expected {expected}; "
            "write the file anew with a current llama.cpp"
        )
