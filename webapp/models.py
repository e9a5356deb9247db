"""Owns /api/models: the list of what can be run, with what each variant costs to download."""

from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from convert import manifest as manifests
from webapp.catalog import ServedModel, current_catalog

blueprint = Blueprint("models", __name__)


@blueprint.get("/api/models")
def list_models() -> Response:
    """All models by name, each with the immutable URL of its manifest."""
    response = jsonify([_row(model) for model in current_catalog().models()])
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


def _row(model: ServedModel) -> dict[str, Any]:
    facts = model.manifest.model
    return {
        "id": model.name,
        "name": facts.name,
        "task": facts.task,
        "parameters": facts.parameters,
        "license": facts.license,
        "family": facts.family,
        "context_length": facts.context_length,
        "source": dict(model.manifest.source),
        "variants": [
            {
                "dtype": str(variant.dtype),
                "block_size": variant.block_size,
                "download_bytes": variant.download_bytes,
                "weight_bytes": variant.weight_bytes,
            }
            for variant in model.manifest.variants
        ],
        "manifest_url": url_for("files.model_file", model=model.name, revision=model.revision, path=manifests.NAME),
    }
