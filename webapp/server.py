"""Owns the production server: waitress with the limits that large files, slow clients and many connections ask for."""

import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flask import Flask
from waitress.server import create_server

from convert.errors import FeatherweightError

THREADS = 8
"""Answers being computed at once; bodies are sent by the main loop and hold no thread."""
CONNECTIONS = 400
"""Each may hold a socket and one open file: together below the usual limit of 1024 handles."""
WILDCARDS = frozenset({"", "0.0.0.0", "::"})

_UNBOUNDED = 1 << 62


class Server:
    """A bound, listening server for ``app``; `run` serves until it is interrupted."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        """Bind ``host``:``port`` (0: a free port). Raises FeatherweightError when that is not possible."""
        self._socket = _bind(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._waitress: Any = create_server(  # type: ignore[no-untyped-call]
            app,
            sockets=[self._socket],
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=60,
            asyncore_use_poll=True,  # select() breaks on handles above 1023
            # A client that pipelines requests and reads no answer would otherwise park one thread for ever. Memory
            # stays small without the watermark: bodies of any size are file windows, which queue no bytes.
            outbuf_high_watermark=_UNBOUNDED,
            max_request_header_size=16 << 10,
            max_request_body_size=64 << 10,
            ident=None,
        )

    @property
    def url(self) -> str:
        """Address of the page for a browser on this machine."""
        host = "localhost" if self.host in WILDCARDS else self.host
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def run(self) -> None:
        """Serve until Ctrl-C or SIGTERM, let running answers finish (at most 5 s), release the port and return."""
        try:
            with _terminated_like_interrupted():
                self._waitress.run()
        finally:
            self.close()

    def close(self) -> None:
        """Release the port."""
        self._waitress.close()
        self._socket.close()


def _bind(host: str, port: int) -> socket.socket:
    """Bind the first address of ``host`` that this machine has."""
    try:
        addresses = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError) as error:
        raise FeatherweightError(f"cannot serve on host {host!r}: {error}; try --host 127.0.0.1") from error
    failure: OSError | None = None
    for family, _, _, _, address in sorted(addresses, key=lambda found: found[0] != socket.AF_INET):
        try:
            return socket.create_server((str(address[0]), int(address[1])), family=family)
        except OSError as error:
            failure = error
            if error.errno == errno.EADDRINUSE:
                break
    code = failure.errno if failure else None
    if code == errno.EADDRINUSE:
        raise FeatherweightError(
            f"port {port} is already taken on {host}: stop what runs there, or choose another with --port {port + 1} "
            "(--port 0 takes any free one)"
        ) from failure
    if code == errno.EACCES:
        raise FeatherweightError(f"port {port} needs more rights than this user has: choose one above 1023 with --port")
    reason = os.strerror(code) if code else "no address"
    raise FeatherweightError(f"cannot serve on {host}:{port}: {reason}; try --host 127.0.0.1") from failure


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Make SIGTERM end the loop as Ctrl-C does; only the main thread may set that up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
