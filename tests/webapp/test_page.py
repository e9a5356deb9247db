"""The browser half: types that a browser accepts, revalidation, and no way out of the static directory."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.webapp.conftest import STATIC_FILES
from webapp import DEFAULTS


def test_serves_the_page(client: FlaskClient) -> None:
    response = client.get("/")
    assert response.data == STATIC_FILES["index.html"]
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_pages_share_head_and_masthead() -> None:
    # No template joins them: they are plain files, which the service worker keeps. This holds them together.
    index, devices = ((Path(DEFAULTS["STATIC_DIR"]) / name).read_text() for name in ("index.html", "devices.html"))
    shared = (
        ('<meta name="viewport"', '<meta name="description"'),
        ('<meta name="color-scheme"', '<link rel="stylesheet"'),
        ('<a class="skip-link"', '<header class="masthead">'),
        ('<svg class="wordmark-icon"', "</a>"),
    )
    for begin, end in shared:
        assert index[index.index(begin) : index.index(end)] in devices


def test_service_worker_controls_the_whole_origin(client: FlaskClient) -> None:
    response = client.get("/service-worker.js")
    assert response.data == STATIC_FILES["app/service_worker.js"]
    assert response.mimetype == "text/javascript"
    assert response.headers["Service-Worker-Allowed"] == "/"


@pytest.mark.parametrize(
    ("path", "mimetype"),
    [
        ("featherweight.js", "text/javascript"),
        ("vendor/ort.mjs", "text/javascript"),
        ("vendor/ort.wasm", "application/wasm"),
        ("app/style.css", "text/css"),
        ("app/app.webmanifest", "application/manifest+json"),
        ("app/icon.svg", "image/svg+xml"),
        ("data.json", "application/json"),
        ("unknown.thing", "application/octet-stream"),
    ],
)
def test_content_types(client: FlaskClient, path: str, mimetype: str) -> None:
    response = client.get(f"/static/{path}")
    assert response.data == STATIC_FILES[path]
    assert response.mimetype == mimetype


def test_is_revalidated(client: FlaskClient, static_dir: Path) -> None:
    first = client.get("/static/featherweight.js")
    assert first.headers["Cache-Control"] == "no-cache"
    condition = {"If-None-Match": first.headers["ETag"]}
    assert client.get("/static/featherweight.js", headers=condition).status_code == 304
    (static_dir / "featherweight.js").write_text("export const changed = 1;")
    assert client.get("/static/featherweight.js", headers=condition).status_code == 200


def test_rejects_what_is_not_there_and_hidden(client: FlaskClient, static_dir: Path) -> None:
    (static_dir / ".hidden").write_text("secret")
    for path in ("nothing.js", "app", "app/", ".hidden", "app/../.hidden", "a%00b", "..%5c..", "%2e%2e/models"):
        response = client.get(f"/static/{path}")
        assert response.status_code == 404, path
        assert response.mimetype == "application/json"


def test_rejects_symlink_escape(client: FlaskClient, static_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.js").write_text("secret")
    (static_dir / "link.js").symlink_to(tmp_path / "outside.js")
    assert client.get("/static/link.js").status_code == 404


def test_healthz(client: FlaskClient) -> None:
    response = client.get("/healthz")
    assert response.get_json() == {"status": "ok"}
    assert response.headers["Cache-Control"] == "no-store"
