"""Owns the server of the benchmarks: the real app, and under /bench/ the pages, the peers and their files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response
from werkzeug.exceptions import NotFound

from benchmarks.model_files import MODELS, PLAIN, ROOT
from e2e.conftest import serving
from webapp.contained_file import find_contained
from webapp.content_types import PAGE_TYPES, content_type
from webapp.file_response import IMMUTABLE, REVALIDATE, ServedFile, respond
from webapp.file_window import open_exactly
from webapp.static_version import file_etag

PREFIX = "/bench/"
PAGE = f"{PREFIX}pages/page.html"
FOLDERS = {
    "pages": ROOT / "benchmarks" / "pages",
    "files": PLAIN,
    "wllama": ROOT / "benchmarks" / "node_modules" / "@wllama" / "wllama",
    "litertjs": ROOT / "benchmarks" / "node_modules" / "@litertjs",
    "transformers": ROOT / "node_modules" / "@huggingface" / "transformers",
    "onnxruntime-web": ROOT / "node_modules" / "onnxruntime-web",
}


class Site:
    """A running server; counts the bytes of the bodies that it sends."""

    def __init__(self) -> None:
        self.url = ""
        self.sent_bytes = 0

    def layer(self, app: Flask) -> Any:
        """Add the benchmarks' routes to ``app`` and the counter around it."""
        app.register_blueprint(_blueprint())

        def count_and_open(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
                if environ["REQUEST_METHOD"] == "GET":
                    self.sent_bytes += sum(int(value) for name, value in headers if name.lower() == "content-length")
                if environ["PATH_INFO"].startswith(PREFIX):  # the peers do not run under our content security policy
                    headers = [(name, value) for name, value in headers if name != "Content-Security-Policy"]
                return start_response(status, headers, *rest)

            return app(environ, start)

        return count_and_open


@contextmanager
def running(models: Path = MODELS) -> Iterator[Site]:
    """The server of the model directories in ``models``, until the block ends."""
    site = Site()
    with serving(models, wrap=site.layer) as url:
        site.url = url
        yield site


def _blueprint() -> Blueprint:
    blueprint = Blueprint("benchmarks", __name__)
    folders = {name: path.resolve() for name, path in FOLDERS.items()}

    @blueprint.get(f"{PREFIX}<folder>/<path:path>")
    def bench_file(folder: str, path: str) -> Response:
        """A file of one of the folders; cached like our own, except the pages."""
        found = find_contained(folders[folder], path) if folder in folders else None
        if found is None:
            raise NotFound(f"there is no {folder}/{path}")
        file, status = found
        return respond(_served(file, status, IMMUTABLE if folder != "pages" else REVALIDATE))

    return blueprint


def _served(file: Path, status: os.stat_result, cache_control: str) -> ServedFile:
    kind = content_type(file.name, PAGE_TYPES)
    size_bytes = status.st_size
    return ServedFile(partial(open_exactly, file, size_bytes), size_bytes, file_etag(status), kind, cache_control)
