"""Owns which models are served: finds the manifests in the models directory and keeps what they say while they last."""

import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from flask import Flask, current_app

from convert import manifest as manifests
from convert.errors import BadModelDirectory

_log = logging.getLogger(__name__)

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_RESERVED = frozenset({"api", "devices", "healthz", "resolve", "service-worker.js", "static"})
"""Path segments of our own routes, which no model may hide or be hidden by."""
_MAX_SEGMENTS = 2
"""A model is ``name`` or ``organisation/name``, as on the model hubs."""
_EXTENSION = "featherweight.catalog"

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model directory with a sound manifest."""

    name: str
    """Path of the directory below the models directory, with forward slashes: the ``{model}`` of the URLs."""
    directory: Path
    """Absolute, symbolic links followed."""
    manifest: manifests.Manifest
    manifest_bytes: bytes
    """The very bytes that ``manifest`` and ``revision`` come from, so that all three always agree."""
    revision: str
    """SHA-256 of ``manifest_bytes``, 64 hex digits."""


class Catalog:
    """The models below ``root``; each manifest is read again only when its time stamp, size or inode changes.

    When ``root`` is itself a model directory, that model is the only one, under the directory's own name.
    Safe to use from several threads.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Stamp, ServedModel | None]] = {}
        self._told: set[Path] = set()

    def models(self) -> list[ServedModel]:
        """All models by name; those with a damaged manifest are left out and logged once per state of the file."""
        found = (self.find(name) for name in sorted(set(self._names())))
        return [model for model in found if model is not None]

    def find(self, name: str) -> ServedModel | None:
        """The model called ``name``, whatever ``name`` holds; None when there is none or its manifest is damaged."""
        directory = self._directory(name)
        if directory is None:
            return None
        path = directory / manifests.NAME
        try:
            status = path.stat()
        except OSError:
            with self._lock:
                self._known.pop(name, None)
            return None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        with self._lock:
            known = self._known.get(name)
        if known is None or known[0] != stamp:
            known = (stamp, _read(name, directory))
            with self._lock:
                self._known[name] = known
        return known[1]

    def _names(self) -> Iterator[str]:
        if (name := self._only_name()) is not None:
            yield name
            return
        for pattern in ("*/" + manifests.NAME, "*/*/" + manifests.NAME):
            for path in self.root.glob(pattern):
                name = path.parent.relative_to(self.root).as_posix()
                if _is_model_name(name):
                    yield name
                elif not any(part.startswith(".") for part in name.split("/")):  # a dot: staging, not published
                    self._tell_bad_name(path.parent)

    def _directory(self, name: str) -> Path | None:
        if (only_name := self._only_name()) is not None:
            return self.root if name == only_name else None
        return self.root / name if _is_model_name(name) else None

    def _only_name(self) -> str | None:
        """Name of the model when ``root`` is a model directory itself."""
        if not (self.root / manifests.NAME).is_file():
            return None
        name = self.root.resolve().name
        return name if _is_model_name(name) else "model"

    def _tell_bad_name(self, directory: Path) -> None:
        if directory not in self._told:
            self._told.add(directory)
            _log.warning(
                "%s is not served: rename it to letters, digits, '.', '_' and '-', and to none of %s",
                directory,
                ", ".join(sorted(_RESERVED)),
            )


def init_app(app: Flask) -> None:
    """Give ``app`` the catalog of its MODELS_DIR setting."""
    app.extensions[_EXTENSION] = Catalog(Path(app.config["MODELS_DIR"]).absolute())


def current_catalog() -> Catalog:
    """The catalog of the app whose context is active."""
    return cast(Catalog, current_app.extensions[_EXTENSION])


def _is_model_name(name: str) -> bool:
    segments = name.split("/")
    return len(segments) <= _MAX_SEGMENTS and all(
        _SEGMENT.fullmatch(segment) and segment not in _RESERVED for segment in segments
    )


def _read(name: str, directory: Path) -> ServedModel | None:
    try:
        data = manifests.read(directory)
        manifest = manifests.parse(data, str(directory / manifests.NAME))
        return ServedModel(name, directory.resolve(), manifest, data, manifests.revision(data))
    except BadModelDirectory as error:
        _log.warning("%s is not served: %s", name, error)
        return None
