"""The browser half: types that a browser accepts, revalidation, and no way out of the static directory."""

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.webapp.conftest import STATIC_FILES
from webapp import DEFAULTS, create_app


def test_serves_the_page(client: FlaskClient) -> None:
    response = client.get("/")
    assert response.data.startswith(b"<!doctype html>")
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


@pytest.mark.parametrize("url", ["/", "/static/featherweight.js", "/static/vendor/ort.mjs"])
def test_is_revalidated(client: FlaskClient, static_dir: Path, url: str) -> None:
    first = client.get(url)
    assert first.headers["Cache-Control"] == "no-cache"
    condition = {"If-None-Match": first.headers["ETag"]}
    assert client.get(url, headers=condition).status_code == 304
    (static_dir / "vendor/ort.mjs").write_text("export const changed = 1;")
    assert client.get(url, headers=condition).status_code == 200


def version_of(client: FlaskClient) -> str:
    found = re.fullmatch(
        r'export \* from "/static/([0-9a-f]{16})/featherweight.js";\n', client.get("/static/featherweight.js").text
    )
    assert found
    return found[1]


def test_pages_and_the_public_module_name_the_version(client: FlaskClient) -> None:
    version = version_of(client)
    page = STATIC_FILES["index.html"].decode()
    assert '"/static/' in page
    assert client.get("/").text == page.replace('"/static/', f'"/static/{version}/')
    assert client.get("/static/featherweight.js").mimetype == "text/javascript"


@pytest.mark.parametrize("path", ["featherweight.js", "vendor/ort.wasm", "app/style.css"])
def test_files_of_a_version_are_kept(client: FlaskClient, path: str) -> None:
    response = client.get(f"/static/{version_of(client)}/{path}")
    assert response.data == STATIC_FILES[path]
    assert "immutable" in response.headers["Cache-Control"]


def test_files_of_another_version_are_not_kept(client: FlaskClient, static_dir: Path) -> None:
    before = version_of(client)
    (static_dir / "vendor/ort.mjs").write_text("export const changed = 1;")
    # The page was read before the change, its modules after it.
    for path in ("vendor/ort.mjs", "featherweight.js"):
        response = client.get(f"/static/{'0' * 16}/{path}")
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-cache"
    response = client.get(f"/static/{before}/vendor/ort.mjs")
    assert response.text == "export const changed = 1;"
    assert response.headers["Cache-Control"] == "no-cache"
    assert version_of(client) != before


def test_a_file_that_changed_after_its_version_was_named_is_not_kept(client: FlaskClient, static_dir: Path) -> None:
    version = version_of(client)
    (static_dir / "vendor/ort.mjs").write_text("export const changed = 1;")
    assert client.get(f"/static/{version}/vendor/ort.mjs").headers["Cache-Control"] == "no-cache"
    assert "immutable" in client.get(f"/static/{version}/featherweight.js").headers["Cache-Control"]


def test_a_version_is_known_to_every_process(client: FlaskClient, app: Flask, static_dir: Path) -> None:
    other = create_app({"MODELS_DIR": app.config["MODELS_DIR"], "STATIC_DIR": static_dir})
    (static_dir / "data.json").write_text("[1, 2]")
    version = version_of(client)
    assert "immutable" in other.test_client().get(f"/static/{version}/data.json").headers["Cache-Control"]


def test_rejects_what_is_not_there_and_hidden(client: FlaskClient, static_dir: Path) -> None:
    (static_dir / ".hidden").write_text("secret")
    for path in ("nothing.js", "app", "app/", ".hidden", "app/../.hidden", "a%00b", "..%5c..", "%2e%2e/models"):
        response = client.get(f"/static/{path}")
        assert response.status_code == 404, path
        assert response.mimetype == "application/json"
        assert client.get(f"/static/{version_of(client)}/{path}").status_code == 404, path


def test_rejects_symlink_escape(client: FlaskClient, static_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.js").write_text("secret")
    (static_dir / "link.js").symlink_to(tmp_path / "outside.js")
    assert client.get("/static/link.js").status_code == 404


def test_healthz(client: FlaskClient) -> None:
    response = client.get("/healthz")
    assert response.get_json() == {"status": "ok"}
    assert response.headers["Cache-Control"] == "no-store"
