"""A server of one model that is slow, wrong or silent on demand, for the tests of the delivery."""

import contextlib
import hashlib
import json
import math
import random
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHUNK = 1 << 20
SHARD = "onnx/model_q4.onnx_data"
TYPES = {".html": "text/html", ".js": "text/javascript"}


def make_contents() -> dict[str, bytes]:
    """One small file and two shards, the same in every run."""
    source = random.Random(7)
    sizes = {"onnx/model_q4.onnx": 5000, SHARD: 9 * CHUNK + 123, "onnx/model_q4.onnx_data_1": 3 * CHUNK}
    return {path: source.randbytes(size) for path, size in sizes.items()}


def describe(contents: dict[str, bytes]) -> bytes:
    """manifest.json of these contents."""

    def entry(data: bytes) -> dict[str, Any]:
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        hashes = [hashlib.sha256(piece).hexdigest() for piece in pieces]
        return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "chunks": hashes}

    paths = list(contents)
    total = sum(map(len, contents.values()))
    model = {"id": "toy", "name": "Toy", "family": "llama", "task": "text-generation", "parameters": 1}
    model |= {"license": "apache-2.0", "context_length": 8, "vocab_size": 9}
    cost = {"per_token": {}, "steps": 1, "kv_bytes_per_token": 1, "activation_bytes_per_token": 1}
    variant = {"dtype": "q4", "block_size": 32, "graph": paths[0], "shards": paths[1:], "files": paths}
    variant |= {"download_bytes": total, "weight_bytes": total, "largest_tensor_bytes": total, "cost": cost}
    files = {path: entry(data) for path, data in contents.items()}
    manifest = {"format": "featherweight-manifest", "version": 1, "chunk_size": CHUNK, "model": model}
    return json.dumps(manifest | {"files": files, "variants": [variant]}).encode()


@dataclass
class ModelServer:
    """Serves the test page, static/ and a model; counts the model's bytes; slow or wrong on demand."""

    contents: dict[str, bytes] = field(default_factory=make_contents)
    flip: set[tuple[str, int]] = field(default_factory=set)
    """(path, offset in the file) of bytes to change."""
    cut_after: list[int] = field(default_factory=list)
    """After how many bytes the answer to each of the next requests for a file ends with its connection."""
    cut_now: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released by the test once for each of these cuts: a browser throws away what it holds unread."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """First and last byte of each request for a file."""
    pause_s: float = 0.0
    """Wait before each 256 KiB of a file."""
    sent_bytes: int = 0
    """Of model files, since the start."""
    sent_limit: float = math.inf
    """The server waits, without an end, once it has sent so many bytes."""
    port: int = 0

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self.contents.values()))

    def start(self) -> ThreadingHTTPServer:
        outer = self
        manifest = describe(self.contents)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0].lstrip("/")
                if path.startswith("model/"):
                    self.send_model(path.removeprefix("model/"))
                    return
                file = ROOT / ("e2e/pages" if not path.startswith("static/") else "") / path
                if file.is_file():
                    self.send(200, file.read_bytes(), TYPES.get(file.suffix, "application/octet-stream"))
                else:
                    self.send(404, b"", "text/plain")

            def send(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def send_model(self, path: str) -> None:
                if path == "manifest.json":
                    self.send(200, manifest, "application/json")
                    return
                data = bytearray(outer.contents[path])
                for name, offset in outer.flip:
                    if name == path:
                        data[offset] ^= 1
                first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())  # type: ignore[union-attr]
                outer.ranges.append((first, last))
                end = min(last + 1, first + outer.cut_after.pop(0)) if outer.cut_after else last + 1
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                self.send_header("Content-Length", str(last + 1 - first))
                self.send_header("Cache-Control", "public, max-age=31536000, immutable")
                self.end_headers()
                for at in range(first, end, 1 << 18):
                    time.sleep(outer.pause_s)
                    while outer.sent_bytes >= outer.sent_limit:
                        time.sleep(0.01)
                    piece = data[at : min(at + (1 << 18), end)]
                    self.wfile.write(piece)
                    outer.sent_bytes += len(piece)
                if end <= last:
                    outer.cut_now.acquire()
                    self.close_connection = True

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # the browser closed the connection: some tests make it do so
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server
