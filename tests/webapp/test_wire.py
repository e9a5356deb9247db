"""The real server over real sockets: raw requests, many at once, and clients that misbehave."""

import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.webapp.conftest import BIG_BYTES, Running
from tests.webapp.model_directory import SHARD, write_model

TINY = f"/tiny/resolve/main/{SHARD}"
BIG = f"/org/big/resolve/main/{SHARD}"
CHUNK_BYTES = 1 << 20
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="reads the server's state from Linux's /proc"
)


@contextmanager
def connected(port: int, request: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        yield connection


def get_request(target: str, **headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: test", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer(connection: socket.socket, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    response = HTTPResponse(connection, method=method)
    with response:
        response.begin()
        return response, response.read()


def fetch(port: int, target: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    with connected(port, get_request(target, **headers)) as connection:
        return answer(connection)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "still not so after a minute"
        time.sleep(0.02)


def open_shards(running: Running) -> int:
    count = 0
    for link in Path(f"/proc/{running.process.pid}/fd").iterdir():
        try:
            count += str(link.readlink()).endswith(".onnx_data")
        except FileNotFoundError:  # closed since it was listed
            continue
    return count


def memory_bytes(running: Running, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{running.process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def test_roundtrip_whole(running: Running) -> None:
    response, body = fetch(running.port, BIG)
    assert response.status == 200
    assert response.headers["Content-Length"] == str(BIG_BYTES)
    assert response.headers["Transfer-Encoding"] is None
    assert body == running.big


def test_sizing_as_transformers_js_does_it(running: Running) -> None:
    response, body = fetch(running.port, TINY, Range="bytes=0-0")
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes 0-0/{len(running.small)}"
    assert body == running.small[:1]


@pytest.mark.parametrize(
    ("value", "status", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=7-", 206, 7, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=1048570-1048580", 206, 1048570, 1048581),
        ("bytes=1048576-9999999", 206, 1048576, None),
        ("bytes=3-1", 200, None, None),
        ("bytes=0-0,2-2", 200, None, None),
        ("furlongs=1-2", 200, None, None),
    ],
)
def test_ranges(running: Running, value: str, status: int, start: int | None, stop: int | None) -> None:
    response, body = fetch(running.port, TINY, Range=value, Accept_Encoding="gzip, br")
    assert response.status == status
    assert body == running.small[start:stop]
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Content-Encoding"] is None


def test_rejects_a_range_beyond_the_end(running: Running) -> None:
    response, body = fetch(running.port, TINY, Range=f"bytes={len(running.small)}-")
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(running.small)}"
    assert b"<" not in body


def test_one_connection_carries_every_kind_of_answer(running: Running) -> None:
    """Whatever the answer's body, the next answer on the connection starts where it should."""
    etag = fetch(running.port, TINY)[0].headers["ETag"].encode()
    with connected(running.port, b"") as connection:
        for method, headers, status, size in (
            (b"HEAD", b"", 200, 0),
            (b"HEAD", b"Range: bytes=0-0\r\n", 200, 0),
            (b"GET", b"Range: bytes=4-8\r\n", 206, 5),
            (b"GET", b"Range: bytes=99999999-\r\n", 416, None),
            (b"POST", b"Content-Length: 2\r\n", 405, None),
            (b"GET", b"", 200, len(running.small)),
            (
                b"GET",
                b"If-None-Match: " + etag + b"\r\n",
                304,
                0,
            ),  # last: waitress closes after an answer without a body
        ):
            body = b"{}" if method == b"POST" else b""
            request = method + b" " + TINY.encode() + b" HTTP/1.1\r\nHost: test\r\n" + headers + b"\r\n" + body
            connection.sendall(request)
            response, got = answer(connection, method.decode())
            assert response.status == status
            assert size is None or len(got) == size
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert response.headers["Server"] is None


@pytest.mark.parametrize(
    "target",
    [
        "/tiny/resolve/main/../../../secret.txt",
        "/tiny/resolve/main/%2e%2e/%2e%2e/secret.txt",
        "/tiny/resolve/main/..%2f..%2fsecret.txt",
        "/tiny/resolve/main/%252e%252e/secret.txt",
        "/tiny/resolve/main/..\\..\\secret.txt",
        "/tiny/resolve/main/..%5c..%5csecret.txt",
        "/tiny/resolve/main//etc/passwd",
        "/tiny/resolve/main/%2fetc%2fpasswd",
        "/tiny/resolve/main/config.json%00",
        "/tiny/resolve/main/config.json%00.onnx",
        "/tiny/resolve/main/./config.json",
        "/tiny/resolve/main/onnx/../config.json",
        "/tiny/resolve/main/unlisted.txt",
        "/tiny/resolve/../main/config.json",
        "/../models/tiny/resolve/main/config.json",
        "/./tiny/resolve/main/config.json",
        "/org/../tiny/resolve/main/config.json",
        "/..%2fmodels%2ftiny/resolve/main/config.json",
        "/%00/resolve/main/config.json",
        "/tiny%00/resolve/main/manifest.json",
        "/tiny/resolve/main/%ff%fe",
        "/org/resolve/main/manifest.json",
        "/static/../pyproject.toml",
        "/static/%2e%2e/pyproject.toml",
        "/static/..%2fpyproject.toml",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..%5cpyproject.toml",
        "/static/a%00",
        "/static/" + "a" * 5000,
        "/static",
    ],
)
def test_rejects_traversal(running: Running, target: str) -> None:
    (running.root.parent / "secret.txt").write_text("secret")
    (running.root / "tiny" / "unlisted.txt").write_text("secret")
    response, body = fetch(running.port, target)
    assert response.status == 404
    assert response.headers["Content-Type"] == "application/json"
    assert b"secret\n" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("target", ["//", "///tiny/resolve/main/config.json", "*", "http://other/healthz"])
def test_odd_targets_never_give_html_errors(running: Running, target: str) -> None:
    response, _ = fetch(running.port, target)
    assert response.status < 300 or not response.headers["Content-Type"].startswith("text/html")
    assert response.status < 300 or response.status >= 400


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20000 + b"\r\n\r\n"]
)
def test_rejects_broken_and_oversized_requests(running: Running, request_: bytes) -> None:
    with connected(running.port, request_) as connection:
        response, body = answer(connection)
    assert 400 <= response.status < 500
    assert b"<" not in body


def test_fifty_parallel_ranges_reassemble(running: Running) -> None:
    starts = range(0, BIG_BYTES, CHUNK_BYTES)

    def chunk(start: int) -> bytes:
        response, body = fetch(running.port, BIG, Range=f"bytes={start}-{start + CHUNK_BYTES - 1}")
        assert response.status == 206
        return body

    with ThreadPoolExecutor(50) as pool:
        assert b"".join(pool.map(chunk, starts)) == running.big


@needs_proc
def test_slow_clients_hold_neither_threads_nor_memory(running: Running) -> None:
    """Sixty whole downloads of 48 MiB that nobody reads: 2.8 GiB if bodies were buffered, 60 threads if they waited."""
    before_bytes = memory_bytes(running, "VmRSS")
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connected(running.port, get_request(BIG)))
        wait_until(lambda: open_shards(running) == 60)
        for _ in range(20):
            assert fetch(running.port, "/healthz")[0].status == 200
        assert fetch(running.port, TINY)[1] == running.small
        assert memory_bytes(running, "VmRSS") - before_bytes < 64 << 20
    wait_until(lambda: open_shards(running) == 0)


@needs_proc
def test_pipelining_clients_that_read_nothing_hold_no_threads(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(connected(running.port, get_request(BIG) * 5))
        wait_until(lambda: open_shards(running) >= 12)
        for _ in range(20):
            assert fetch(running.port, "/healthz")[0].status == 200
        assert open_shards(running) == 12  # one for each connection: queued answers open nothing
    wait_until(lambda: open_shards(running) == 0)


def test_pipelined_answers_come_in_order(running: Running) -> None:
    with connected(
        running.port, b"".join(get_request(TINY, Range=f"bytes={n}-{n + 2}") for n in range(9))
    ) as connection:
        stream = connection.makefile("rb")
        for n in range(9):
            size = 0
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            assert stream.read(size) == running.small[n : n + 3]
        stream.close()


@needs_proc
def test_aborted_downloads_leave_no_handle_open(running: Running) -> None:
    reset = struct.pack("ii", 1, 0)  # close with RST, as a killed tab does
    for n in range(40):
        with connected(running.port, get_request(BIG)) as connection:
            connection.recv(1 + n * 1000)
            if n % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    wait_until(lambda: open_shards(running) == 0)
    assert fetch(running.port, BIG, Range="bytes=-9")[1] == running.big[-9:]


def test_unfinished_requests_hold_nobody_up(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connected(running.port, b"GET / HTTP/1.1\r\nHost:"))
        assert fetch(running.port, TINY)[1] == running.small


def test_a_file_cut_short_while_it_is_sent_gives_a_short_answer(running: Running) -> None:
    """Wrong bytes never follow: the connection ends before the announced length."""
    directory = running.root / "cut"
    shard = write_model(directory, BIG_BYTES, seed=3)
    with connected(running.port, get_request(f"/cut/resolve/main/{SHARD}")) as connection:
        head = connection.recv(1 << 16)
        with (directory / SHARD).open("r+b") as file:
            file.truncate(BIG_BYTES // 2)
        rest = bytearray(head)
        while piece := connection.recv(1 << 20):
            rest += piece
    body = bytes(rest).partition(b"\r\n\r\n")[2]
    assert len(body) < BIG_BYTES
    assert shard.startswith(body)
