"""Owns `featherweight serve`: checks what is to be served, says where it is and serves it."""

import json
import logging
import webbrowser
from pathlib import Path

import click
from flask import Flask

from convert.errors import BadModelDirectory
from webapp import DEFAULTS, create_app
from webapp.catalog import current_catalog
from webapp.server import WILDCARDS, Server

_CONVERT_HINT = "featherweight convert bundled:smollm2-135m-instruct {}/smollm2-135m-instruct"


@click.command()
@click.argument("models_dir", default="models", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--no-isolation", is_flag=True, help="Send no COOP and COEP headers; models then run single-threaded.")
@click.option(
    "--measurements",
    metavar="URL",
    default=DEFAULTS["MEASUREMENTS_URL"],
    show_default="an SQLite file in your data folder",
    help="Database of shared measurements: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in your browser.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (url, host, port, models) once ready.")
def serve(
    models_dir: Path, host: str, port: int, no_isolation: bool, measurements: str, open_page: bool, as_json: bool
) -> None:
    """Serve the page and the models in MODELS_DIR (default: models) until Ctrl-C.

    MODELS_DIR holds model directories as `featherweight convert` writes them, or is one itself. Stopping the server
    with Ctrl-C or SIGTERM is its normal end: the exit code is 0.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    app = create_app({"MODELS_DIR": models_dir, "ISOLATION": not no_isolation, "MEASUREMENTS_URL": measurements})
    names = _model_names(app, models_dir)
    server = Server(app, host, port)
    if as_json:
        click.echo(json.dumps({"url": server.url, "host": host, "port": server.port, "models": names}))
    else:
        click.echo(f"Serving {', '.join(names)}")
        click.echo(f"Open {server.url} (Ctrl-C stops)")
    if host in WILDCARDS:
        click.echo(
            "Other machines can reach this server. Browsers give threads and storage to https pages and to localhost "
            "only: put a TLS proxy in front for them.",
            err=True,
        )
    if open_page:
        webbrowser.open(server.url)  # the socket listens already: the page waits for the loop below
    server.run()
    click.echo("Stopped.", err=True)


def _model_names(app: Flask, models_dir: Path) -> list[str]:
    """Names of the models in ``models_dir``; raises BadModelDirectory, saying what to do, when there are none."""
    hint = _CONVERT_HINT.format(models_dir)
    if not models_dir.is_dir():
        what = "is not a directory" if models_dir.exists() else "does not exist"
        raise BadModelDirectory(f"{models_dir}: {what}; make it with a first model: {hint}")
    with app.app_context():
        names = [model.name for model in current_catalog().models()]
    if not names:
        raise BadModelDirectory(f"{models_dir}: holds no sound model; convert one: {hint}")
    return names
