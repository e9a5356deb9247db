"""Owns the routes of the browser half: the page, its service worker and everything under /static/."""

from functools import partial
from pathlib import Path

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import NotFound

from webapp.contained_file import find_contained
from webapp.content_types import PAGE_TYPES, content_type
from webapp.file_response import ServedFile, respond
from webapp.file_window import open_exactly

blueprint = Blueprint("page", __name__)


@blueprint.get("/")
def index() -> Response:
    """The page."""
    return _static("index.html")


@blueprint.get("/devices")
def devices() -> Response:
    """What has been measured, on which class of device."""
    return _static("devices.html")


@blueprint.get("/service-worker.js")
def service_worker() -> Response:
    """The service worker, served from the root because its scope is at most its own folder."""
    response = _static("app/service_worker.js")
    response.headers["Service-Worker-Allowed"] = "/"
    return response


@blueprint.get("/static/<path:path>")
def static_file(path: str) -> Response:
    """A file of the browser half; always asked for anew, answered with 304 when it has not changed."""
    return _static(path)


def _static(path: str) -> Response:
    found = find_contained(Path(current_app.config["STATIC_DIR"]).resolve(), path)
    if found is None:
        raise NotFound(f"there is no page file {path!r}")
    file, status = found
    return respond(
        ServedFile(
            opener=partial(open_exactly, file, status.st_size),
            size_bytes=status.st_size,
            etag=f"{status.st_mtime_ns:x}-{status.st_size:x}",
            content_type=content_type(path, PAGE_TYPES),
            cache_control="no-cache",
        )
    )
