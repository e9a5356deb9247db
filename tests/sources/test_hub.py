"""The hub source, against a server on this machine that speaks the part of the hub's protocol that the client uses."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "c0ffee" + "0" * 34
RESOLVE = """
import json, sys
from convert.errors import FeatherweightError
from convert.progress import SilentProgress
from convert.sources import resolve
try:
    with resolve(sys.argv[1], revision=(sys.argv[2:] or [None])[0], progress=SilentProgress()) as checkpoint:
        weights = {name: tensor.read().tolist() for name, tensor in checkpoint.tensors.items()}
        print(json.dumps([checkpoint.name, checkpoint.provenance, weights, checkpoint.pooling]))
except FeatherweightError as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


class Hub(BaseHTTPRequestHandler):
    """Serves ``server.directory`` as the repository owner/toy; counts the file bodies it sends."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        names = [
            str(file.relative_to(self.server.directory)) for file in self.server.directory.rglob("*") if file.is_file()
        ]
        if path.startswith("/api/models/owner/gated"):
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif path == "/api/models/owner/toy/revision/broken":
            self.answer(500, b"<html>oops</html>", {})
        elif path in ("/api/models/owner/toy/revision/main", f"/api/models/owner/toy/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in names]
            self.answer_json({"id": "owner/toy", "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        elif path == f"/api/models/owner/toy/tree/{COMMIT}":
            self.answer_json([self.tree_entry(name) for name in names])
        elif path.startswith("/api/models/owner/toy/revision/"):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith(f"/owner/toy/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/owner/toy/resolve/{COMMIT}/")
            content = (self.server.directory / name).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self.answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
            if self.command == "GET":
                self.server.sent.append(name)
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def tree_entry(self, name: str) -> dict[str, Any]:
        content = (self.server.directory / name).read_bytes()
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def answer_json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(checkpoint_directory: Path) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.directory, server.sent = checkpoint_directory, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def resolve_from_hub(hub, tmp_path):
    """Runs resolve in a process of its own, since the client reads its environment when it is imported."""

    def run(*arguments: str, **environment: str) -> Any:
        own = {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", RESOLVE, *arguments],
            env=kept | own | environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout)

    return run


def test_downloads_only_what_is_read_and_works_offline_afterwards(hub, resolve_from_hub):
    (hub.directory / "pytorch_model.bin").write_bytes(b"pickled")
    (hub.directory / "original").mkdir()
    (hub.directory / "original" / "model.safetensors").write_bytes(b"unread")
    (hub.directory / "README.md").write_text("---\nlicense: mit\n---\n")
    provenance = {"kind": "hub", "name": "owner/toy", "revision": f"commit:{COMMIT}"}
    expected = ["toy", provenance, {"a.weight": [[0, 1, 2], [3, 4, 5]]}, None]
    assert resolve_from_hub("owner/toy") == expected
    wanted = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(hub.sent) == wanted
    assert resolve_from_hub("owner/toy", HF_HUB_OFFLINE="1") == expected
    assert resolve_from_hub("owner/toy", COMMIT) == expected
    assert sorted(hub.sent) == wanted


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["owner/none"], {}, "owner/none: is neither a directory here nor a public repository on the hub"),
        (["owner/gated"], {}, "owner/gated: is gated; ask for access"),
        (["owner/toy", "v9"], {}, "owner/toy: has no revision 'v9'; check --revision"),
        (["owner/toy"], {"HF_HUB_OFFLINE": "1"}, "nor in the hub cache, and the hub cannot be reached"),
        (["owner/toy"], {"HF_ENDPOINT": "http://127.0.0.1:9"}, "nor in the hub cache, and the hub cannot be reached"),
        (["owner/to--y"], {}, "owner/to--y: is not a name that the hub allows"),
    ],
)
def test_rejects(resolve_from_hub, arguments, environment, message):
    said = resolve_from_hub(*arguments, **environment)
    assert said.startswith("SourceNotFound: ")
    assert message in said
    assert "\n" not in said


def test_rejects_repository_of_pickles(hub, resolve_from_hub):
    (hub.directory / "model.safetensors").rename(hub.directory / "pytorch_model.bin")
    said = resolve_from_hub("owner/toy")
    assert said.startswith("SourceNotFound: owner/toy: has no model.safetensors on the hub (pickle files are not read)")
    assert "pytorch_model.bin" not in hub.sent


def test_says_when_the_server_fails(resolve_from_hub):
    said = resolve_from_hub("owner/toy", "broken")
    assert said.startswith("SourceNotFound: owner/toy: ")
    assert "\n" not in said


def test_says_when_files_cannot_be_stored(resolve_from_hub, tmp_path):
    (tmp_path / "hf").write_text("a file where the cache should be")
    said = resolve_from_hub("owner/toy")
    assert said.startswith("OutputFailed: owner/toy: the download cannot be stored")
