"""The hub source, against a server on this machine that speaks the part of the hub's protocol that the client uses."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE
from safetensors.numpy import save_file

COMMIT = "c0ffee" + "0" * 34
RESOLVE = """
import json, sys
from convert.errors import FeatherweightError
from convert.sources import resolve
from tests.sources.conftest import RecordedProgress
progress = RecordedProgress()
try:
    with resolve(sys.argv[1], revision=(sys.argv[2:] or [None])[0], progress=progress) as checkpoint:
        weights = {name: tensor.read().tolist() for name, tensor in checkpoint.tensors.items() if tensor.rows < 9}
        print(json.dumps([checkpoint.name, checkpoint.provenance, weights, checkpoint.pooling]))
        print(json.dumps([progress.phases[0], progress.done_bytes.get("download")]), file=sys.stderr)
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
        names += self.server.more
        if path.startswith("/api/models/owner/gated"):
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif path == "/api/models/owner/toy/revision/broken":
            self.answer(500, b"<html>oops</html>", {})
        elif path.removesuffix("/revision/main").removesuffix(f"/revision/{COMMIT}") == "/api/models/owner/toy":
            siblings = [self.sibling(name) for name in names]
            self.answer_json({"id": "owner/toy", "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        elif path == f"/api/models/owner/toy/tree/{COMMIT}":
            self.answer_json([self.tree_entry(name) for name in names])
        elif path.startswith("/api/models/owner/toy/revision/"):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith(f"/owner/toy/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/owner/toy/resolve/{COMMIT}/")
            self.answer_file(name)
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def sibling(self, name: str) -> dict[str, Any]:
        known = name not in self.server.more
        size = {"size": (self.server.directory / name).stat().st_size if known else 1} if "blobs=" in self.path else {}
        return {"rfilename": name, **size}

    def answer_file(self, name: str) -> None:
        """The file, from the byte on that is asked for; half of what ``server.cut`` names, the first time.

        Where ``server.released`` is given, the connection stays open until it is set, and the rest waits for it, too.
        """
        if name == self.server.lost:
            self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        content = b"stolen" if "stolen" in name else (self.server.directory / name).read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET":
            self.server.sent.append(f"{name} from {start}" if start else name)
        if self.command == "GET" and start and self.server.released:
            self.server.released.wait(60)
        if self.command == "GET" and name == self.server.cut:
            self.server.cut = ""
            self.answer(200, content[: len(content) // 2], headers | {"Content-Length": str(len(content))})
            if self.server.released:
                self.server.released.wait(60)
            self.close_connection = True
            return
        self.answer(206 if start else 200, content[start:], headers)

    def tree_entry(self, name: str) -> dict[str, Any]:
        content = b"stolen" if "stolen" in name else (self.server.directory / name).read_bytes()
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
    server.directory, server.sent, server.cut, server.lost = checkpoint_directory, [], "", ""
    server.released, server.more = None, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def resolve_from_hub(hub, tmp_path):
    """Runs resolve in a process of its own, since the client reads its environment when it is imported."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        own = {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        return subprocess.Popen(
            [sys.executable, "-c", RESOLVE, *arguments],
            env=kept | own | environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*arguments: str, **environment: str) -> Any:
        with start(*arguments, **environment) as process:
            said, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints
        run.progress = json.loads(complaints.splitlines()[-1]) if complaints else None
        return json.loads(said)

    run.start = start
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


def test_progress_counts_the_bytes_that_are_missing(hub, resolve_from_hub):
    (hub.directory / "unread.txt").write_text("not counted")
    resolve_from_hub("owner/toy")
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    total = sum((hub.directory / name).stat().st_size for name in names)
    assert resolve_from_hub.progress == [["download", total], total]
    resolve_from_hub("owner/toy")
    assert resolve_from_hub.progress == [["download", 0], 0]


def large_weights(directory: Path) -> Path:
    save_file({"large": np.arange(6 << 20, dtype=np.float32)}, directory / "model.safetensors")
    return directory / "model.safetensors"


def test_a_cut_connection_is_resumed_where_it_broke(hub, resolve_from_hub):
    size_bytes = large_weights(hub.directory).stat().st_size
    hub.cut = "model.safetensors"
    assert resolve_from_hub("owner/toy")[0] == "toy"
    parts = [name for name in hub.sent if name.startswith("model.safetensors")]
    assert parts[0] == "model.safetensors"
    assert parts[1].startswith("model.safetensors from ")
    assert 0 < int(parts[1].rpartition(" ")[2]) <= size_bytes // 2


def test_files_that_are_there_are_not_fetched_again_after_a_failure(hub, resolve_from_hub):
    hub.lost = "model.safetensors"
    assert "owner/toy: the hub refused the download" in resolve_from_hub("owner/toy")
    small = sorted(hub.sent)
    hub.lost = ""
    assert resolve_from_hub("owner/toy")[0] == "toy"
    assert sorted(hub.sent) == sorted([*small, "model.safetensors"])


def test_a_killed_download_goes_on_with_the_files_that_were_complete(hub, resolve_from_hub, tmp_path):
    large_weights(hub.directory)
    hub.cut, hub.released = "model.safetensors", threading.Event()
    blobs = tmp_path / "hf" / "hub" / "models--owner--toy" / "blobs"
    process = resolve_from_hub.start("owner/toy")
    deadline = time.monotonic() + 60
    while len(hub.sent) < 4 or sum(path.stat().st_size for path in blobs.glob("*")) < DOWNLOAD_CHUNK_SIZE:
        assert time.monotonic() < deadline, hub.sent
        time.sleep(0.05)
    process.kill()
    process.communicate()
    hub.released.set()
    before = sorted(hub.sent)
    assert resolve_from_hub("owner/toy")[0] == "toy"
    assert sorted(hub.sent) == sorted([*before, "model.safetensors"])


def test_rejects_weights_that_the_repository_holds_only_in_part(hub, resolve_from_hub):
    with (hub.directory / "model.safetensors").open("r+b") as file:
        file.truncate((hub.directory / "model.safetensors").stat().st_size - 4)
    assert "the file is truncated" in resolve_from_hub("owner/toy")


def test_stores_nothing_under_a_name_that_leads_out(hub, resolve_from_hub, tmp_path):
    hub.more = ["model-/../../../../../../stolen-of-1.safetensors"]
    said = resolve_from_hub("owner/toy")
    assert "Invalid filename" in said
    assert "\n" not in said
    assert not list(tmp_path.rglob("stolen*"))
