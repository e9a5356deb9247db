"""Owns the routes of the browser half: the pages, their service worker and everything under /static/.

Every file has two addresses. Under ``/static/`` it is asked for anew each time; under ``/static/{version}/``, which the
pages name and relative imports stay below, it is kept for ever: a later visit asks for the page alone.
"""

import io
from functools import partial
from pathlib import Path

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import NotFound

from webapp.contained_file import find_contained
from webapp.content_types import PAGE_TYPES, content_type
from webapp.file_response import IMMUTABLE, REVALIDATE, ServedFile, respond
from webapp.file_window import open_exactly
from webapp.static_version import StaticVersion, file_etag, split_version, static_version

blueprint = Blueprint("page", __name__)

PUBLIC_MODULE = "featherweight.js"
_VERSION = "static_version"


@blueprint.get("/")
def index() -> Response:
    """The page."""
    return _page("index.html")


@blueprint.get("/devices")
def devices() -> Response:
    """What has been measured, on which class of device."""
    return _page("devices.html")


@blueprint.get("/service-worker.js")
def service_worker() -> Response:
    """The service worker, served from the root because its scope is at most its own folder."""
    response = respond(_file("app/service_worker.js"))
    response.headers["Service-Worker-Allowed"] = "/"
    return response


@blueprint.get("/static/<path:path>")
def static_file(path: str) -> Response:
    """A file of the browser half; without a version asked for anew, answered with 304 when it has not changed."""
    version, path = split_version(path)
    if version is not None:
        return respond(_file(path, version))
    if path == PUBLIC_MODULE:
        return respond(_public_module())
    return respond(_file(path))


def _page(path: str) -> Response:
    """An HTML file; the addresses in it name the version of now."""
    file = _file(path)
    version = _current_version().name
    with file.opener() as opened:
        html = opened.read().replace(b'"/static/', f'"/static/{version}/'.encode())
    return respond(_generated(html, file.content_type, f"{file.etag}-{version}"))


def _public_module() -> ServedFile:
    """The public module under its lasting address: that of the version of now."""
    kind = _file(PUBLIC_MODULE).content_type
    version = _current_version().name
    return _generated(f'export * from "/static/{version}/{PUBLIC_MODULE}";\n'.encode(), kind, version)


def _generated(content: bytes, kind: str, etag: str) -> ServedFile:
    return ServedFile(partial(io.BytesIO, content), len(content), etag, kind, REVALIDATE)


def _file(path: str, version: str | None = None) -> ServedFile:
    """The file ``path`` as it is now; only as part of the version that it is asked for in may it be kept.

    Raises NotFound.
    """
    root = Path(current_app.config["STATIC_DIR"]).resolve()
    found = find_contained(root, path)
    if found is None:
        raise NotFound(f"there is no page file {path!r}")
    file, status = found
    etag = file_etag(status)
    known = _known_version(version) if version else None
    return ServedFile(
        opener=partial(open_exactly, file, status.st_size),
        size_bytes=status.st_size,
        etag=etag,
        content_type=content_type(path, PAGE_TYPES),
        cache_control=IMMUTABLE if known and known.etags.get(path) == etag else REVALIDATE,
    )


def _current_version() -> StaticVersion:
    """Looked up anew, since the files may change while the app runs."""
    version = static_version(Path(current_app.config["STATIC_DIR"]))
    current_app.extensions[_VERSION] = version
    return version


def _known_version(name: str) -> StaticVersion | None:
    """The version ``name``, if it is that of now: another process may have named it first."""
    noted: StaticVersion | None = current_app.extensions.get(_VERSION)
    version = noted if noted and noted.name == name else _current_version()
    return version if version.name == name else None
