"""Owns the form of every error: JSON on all routes, so that HTML is never mistaken for a shard or a manifest."""

from flask import Flask, Response, json
from werkzeug.exceptions import HTTPException, InternalServerError


def init_app(app: Flask) -> None:
    """Answer every error of ``app`` with ``{"error": {"code", "status", "message"}}``; nothing internal is told."""
    app.register_error_handler(HTTPException, _as_json)
    # Flask logs the traceback itself and wraps what is no HTTPException into InternalServerError.


def _as_json(error: HTTPException) -> Response:
    status = error.code or InternalServerError.code
    body = {"code": error.name.lower().replace(" ", "_"), "status": status, "message": error.description}
    response = Response(json.dumps({"error": body}) + "\n", status=status, content_type="application/json")
    for name, value in error.get_headers():
        if name.lower() != "content-type":  # what is left: Allow (405), Content-Range (416), Retry-After
            response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    return response
