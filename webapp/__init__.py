"""Serves the page and the converted models over HTTP; does no inference. The pieces meet in `create_app`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from platformdirs import user_data_path

from webapp import catalog, files, health, json_errors, models, page, security
from webapp.measurements import routes as measurements

DEFAULTS: Mapping[str, Any] = {
    "MODELS_DIR": Path("models"),
    "STATIC_DIR": Path(__file__).resolve().parent.parent / "static",
    "ISOLATION": True,
    "MEASUREMENTS_URL": f"sqlite:///{user_data_path('featherweight') / 'measurements.sqlite3'}",
    "MEASUREMENTS_RATE": "1200 per minute",
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the WSGI application.

    Settings, in ``config`` or their defaults:
        MODELS_DIR: holds model directories (``name/`` or ``organisation/name/``), or is one itself; "models".
        STATIC_DIR: the browser half; the ``static`` folder beside this package.
        ISOLATION: whether to send COOP and COEP, without which the page has no threads; True.
        MEASUREMENTS_URL: database of the opt-in receipts (sqlite:///FILE, postgresql+psycopg://...), opened when it is
            first used; an SQLite file in the user's data folder.
        MEASUREMENTS_RATE: how many receipts one address may post ("1200 per minute").
    Other keys are Flask's own. Models may come, change and go while the app runs.
    """
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(DEFAULTS)
    app.config.from_mapping(config or {})
    app.url_map.merge_slashes = False  # Flask would answer "//" with a redirect, which has an HTML body
    catalog.init_app(app)
    measurements.init_app(app)
    json_errors.init_app(app)
    security.init_app(app)
    for module in (page, models, measurements, files, health):
        app.register_blueprint(module.blueprint)
    return app
