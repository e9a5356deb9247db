"""Headers of every answer, and errors that are never HTML."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.webapp.conftest import Tiny
from tests.webapp.model_directory import SHARD
from webapp import create_app

CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' data:; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def explode() -> str:
    raise ZeroDivisionError("secret detail")


@pytest.fixture
def answers(app: Flask, models: Tiny) -> dict[int, TestResponse]:
    """One answer of each status that the app gives."""
    app.add_url_rule("/explode", view_func=explode)
    client = app.test_client()
    shard = models.url(SHARD)
    return {
        response.status_code: response
        for response in (
            client.get("/"),
            client.get(shard, headers={"Range": "bytes=0-0"}),
            client.get(shard, headers={"If-None-Match": "*"}),
            client.get("/no/such/thing"),
            client.post(shard),
            client.get(shard, headers={"If-Match": '"other"'}),
            client.get(shard, headers={"Range": "bytes=99999999-"}),
            client.get("/explode"),
        )
    }


def test_headers_on_every_status(answers: dict[int, TestResponse]) -> None:
    assert sorted(answers) == [200, 206, 304, 404, 405, 412, 416, 500]
    for status, response in answers.items():
        for name, value in {
            "Content-Security-Policy": CSP,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }.items():
            assert response.headers.getlist(name) == [value], (status, name)
        assert "geolocation=()" in response.headers["Permissions-Policy"]
        assert "Content-Encoding" not in response.headers
        assert "Set-Cookie" not in response.headers


def test_errors_are_json_and_tell_nothing_internal(answers: dict[int, TestResponse]) -> None:
    for status, response in answers.items():
        if status < 400:
            continue
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        error = response.get_json()["error"]
        assert error["status"] == status
        assert error["code"]
        assert error["message"]
        assert "secret" not in response.text
        assert "<" not in response.text
    assert answers[404].get_json()["error"]["code"] == "not_found"


def test_405_names_the_methods_that_are_allowed(answers: dict[int, TestResponse]) -> None:
    assert {"GET", "HEAD"} <= set(answers[405].headers["Allow"].replace(",", " ").split())


def test_isolation_can_be_left_out(models: Tiny) -> None:
    client = create_app({"MODELS_DIR": models.root, "ISOLATION": False}).test_client()
    for url in (models.url(SHARD), "/nothing"):
        headers = client.get(url).headers
        assert "Cross-Origin-Opener-Policy" not in headers
        assert "Cross-Origin-Embedder-Policy" not in headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"] == CSP


@pytest.mark.parametrize("url", ["/tiny//resolve/main/config.json", "/static/", "/api/models/", "/healthz/", "/api"])
def test_rejects_odd_slashes_without_a_redirect(client: FlaskClient, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 404
    assert response.mimetype == "application/json"
