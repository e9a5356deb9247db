"""Owns /{model}/resolve/{revision}/{path}: the files of a model directory, and only those that its manifest lists."""

import io
import logging
from functools import partial

from flask import Blueprint, Response
from werkzeug.exceptions import InternalServerError, NotFound

from convert import manifest as manifests
from webapp.catalog import ServedModel, current_catalog
from webapp.contained_file import find_contained
from webapp.content_types import MODEL_TYPES, content_type
from webapp.file_response import IMMUTABLE, REVALIDATE, ServedFile, respond
from webapp.file_window import open_exactly

blueprint = Blueprint("files", __name__)

MOVING_REVISION = "main"
"""Names whatever the model is now; every other revision is the hash of its manifest."""

_log = logging.getLogger(__name__)


@blueprint.get("/<path:model>/resolve/<revision>/<path:path>")
def model_file(model: str, revision: str, path: str) -> Response:
    """One file of a model, whole or a range of it; its ETag is its SHA-256."""
    served = current_catalog().find(model)
    if served is None:
        raise NotFound(f"there is no model {model!r}")
    if revision not in (MOVING_REVISION, served.revision):
        raise NotFound(f"model {model!r} has no revision {revision!r}: it was converted anew, or never had it")
    cache_control = REVALIDATE if revision == MOVING_REVISION else IMMUTABLE
    if path == manifests.NAME:
        return respond(_manifest(served, cache_control))
    return respond(_listed(served, path, cache_control))


def _manifest(model: ServedModel, cache_control: str) -> ServedFile:
    return ServedFile(
        opener=partial(io.BytesIO, model.manifest_bytes),  # shares the bytes, copies nothing
        size_bytes=len(model.manifest_bytes),
        etag=model.revision,
        content_type=content_type(manifests.NAME, MODEL_TYPES),
        cache_control=cache_control,
    )


def _listed(model: ServedModel, path: str, cache_control: str) -> ServedFile:
    """The file that the manifest lists as ``path``; its name never comes from anywhere else.

    Raises NotFound when it is not listed, missing or a link out of the model directory, InternalServerError when it
    is not as long as the manifest says: bytes that are known to be wrong are not sent under the right hash.
    """
    entry = model.manifest.files.get(path)
    if entry is None:
        raise NotFound(f"model {model.name!r} has no file {path!r} in its manifest")
    found = find_contained(model.directory, entry.path)
    if found is None:
        _log.error("%s: listed in the manifest but not a file in the directory", model.directory / entry.path)
        raise NotFound(f"file {path!r} of model {model.name!r} is missing on the server")
    file, status = found
    if status.st_size != entry.size_bytes:
        _log.error("%s does not match its manifest: convert the model again", file)
        raise InternalServerError(f"file {path!r} of model {model.name!r} does not match its manifest")
    return ServedFile(
        opener=partial(open_exactly, file, entry.size_bytes),
        size_bytes=entry.size_bytes,
        etag=entry.sha256,
        content_type=content_type(path, MODEL_TYPES),
        cache_control=cache_control,
    )
