"""A models directory, a static directory, the app over both, and the real server in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from convert import manifest
from tests.webapp.model_directory import write_model
from webapp import create_app

ROOT = Path(__file__).parent.parent.parent
BIG_BYTES = 48 << 20
STATIC_FILES = {
    "index.html": b'<!doctype html><title>page</title><script type="module" src="/static/featherweight.js"></script>',
    "app/service_worker.js": b"self.skipWaiting();",
    "app/style.css": b"body {}",
    "app/app.webmanifest": b"{}",
    "app/icon.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "featherweight.js": b"export {};",
    "vendor/ort.mjs": b"export {};",
    "vendor/ort.wasm": b"\0asm\1\0\0\0",
    "data.json": b"{}",
    "unknown.thing": b"?",
}


@dataclass(frozen=True)
class Tiny:
    """The models directory, and what is in it."""

    root: Path
    shard: bytes
    revision: str

    def url(self, path: str, revision: str = "main") -> str:
        return f"/tiny/resolve/{revision}/{path}"

    def etag(self, path: str) -> str:
        return f'"{manifest.load(self.root / "tiny").files[path].sha256}"'


@pytest.fixture
def models(tmp_path: Path) -> Tiny:
    root = tmp_path / "models"
    shard = write_model(root / "tiny")
    write_model(root / "org" / "nested.model", shard_bytes=100, seed=1)
    return Tiny(root, shard, manifest.revision(root / "tiny"))


@pytest.fixture
def static_dir(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    for path, content in STATIC_FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture
def app(models: Tiny, static_dir: Path) -> Flask:
    return create_app({"MODELS_DIR": models.root, "STATIC_DIR": static_dir})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@dataclass(frozen=True)
class Running:
    """`featherweight serve` with a tiny and a big model."""

    process: "subprocess.Popen[str]"
    port: int
    root: Path
    small: bytes
    big: bytes


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("served") / "models"
    small = write_model(root / "tiny")
    big = write_model(root / "org" / "big", BIG_BYTES, seed=2)
    process = start_server(root)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    yield Running(process, ready["port"], root, small, big)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()


def start_server(models_dir: Path) -> "subprocess.Popen[str]":
    """Start the command on a free port; its first line of output is the JSON that says which."""
    command = [sys.executable, "-c", "from webapp.command import serve; serve()"]
    return subprocess.Popen(
        [*command, str(models_dir), "--port", "0", "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
