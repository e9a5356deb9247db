"""Owns the Content-Type of every file served: a fixed table, as the system's own differs by machine."""

from pathlib import PurePosixPath

OCTET_STREAM = "application/octet-stream"

PAGE_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""For our own static files; a wrong type here is a module, worker or wasm binary that the browser refuses."""

MODEL_TYPES = {
    ".jinja": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
"""For a model's files, which come from elsewhere: nothing in here can be run or rendered by a browser."""


def content_type(path: str, types: dict[str, str]) -> str:
    """Content-Type of ``path`` by its suffix in ``types``; bytes without a meaning when it is not there."""
    return types.get(PurePosixPath(path).suffix.lower(), OCTET_STREAM)
