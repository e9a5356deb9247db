"""`featherweight serve`: what it prints, what it refuses and how it ends."""

import json
import signal
import socket
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner

from convert.errors import BadModelDirectory, FeatherweightError
from tests.webapp.conftest import Tiny, start_server
from webapp import create_app
from webapp.command import serve
from webapp.server import Server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_interrupted_and_ends_with_0(models: Tiny, number: signal.Signals) -> None:
    process = start_server(models.root)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert ready == {
        "url": f"http://127.0.0.1:{ready['port']}/",
        "host": "127.0.0.1",
        "port": ready["port"],
        "models": ["org/nested.model", "tiny"],
    }
    connection = HTTPConnection("127.0.0.1", ready["port"], timeout=30)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    process.send_signal(number)  # the connection is still open: it must not hold the server
    assert process.wait(30) == 0
    assert process.stdout.read() == ""
    process.stdout.close()
    connection.close()


def test_rejects_a_missing_models_dir(tmp_path: Path) -> None:
    result = CliRunner().invoke(serve, [str(tmp_path / "nowhere")])
    assert isinstance(result.exception, BadModelDirectory)
    assert "does not exist" in str(result.exception)
    assert "featherweight convert bundled:" in str(result.exception)


def test_rejects_a_models_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(serve, [str(tmp_path / "file")])
    assert isinstance(result.exception, BadModelDirectory)
    assert "is not a directory" in str(result.exception)


def test_rejects_a_models_dir_without_models(tmp_path: Path) -> None:
    result = CliRunner().invoke(serve, [str(tmp_path)])
    assert isinstance(result.exception, BadModelDirectory)
    assert "featherweight convert bundled:" in str(result.exception)


def test_rejects_a_port_that_is_taken(models: Tiny) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(serve, [str(models.root), "--port", str(port)])
    assert isinstance(result.exception, FeatherweightError)
    assert f"port {port} is already taken" in str(result.exception)
    assert "--port" in str(result.exception)


def test_rejects_a_host_that_is_not_ours(models: Tiny) -> None:
    result = CliRunner().invoke(serve, [str(models.root), "--host", "192.0.2.1", "--port", "0"])
    assert isinstance(result.exception, FeatherweightError)
    assert "192.0.2.1" in str(result.exception)


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_rejects_a_port_that_is_none(port: str) -> None:
    assert CliRunner().invoke(serve, ["--port", port]).exit_code == 2


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost")])
def test_url_is_one_that_a_browser_here_can_open(models: Tiny, host: str, shown: str) -> None:
    server = Server(create_app({"MODELS_DIR": models.root}), host, 0)
    try:
        assert server.url == f"http://{shown}:{server.port}/"
    finally:
        server.close()
