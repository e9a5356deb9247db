"""Owns /healthz: a cheap answer for supervisors and scripts that wait for the server."""

from flask import Blueprint, Response, jsonify

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Say that the server answers."""
    response = jsonify(status="ok")
    response.headers["Cache-Control"] = "no-store"
    return response
