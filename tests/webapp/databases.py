"""Databases of measurements for the tests: a fresh SQLite file, and a fresh database on a PostgreSQL of our own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


def _programs() -> Path | None:
    """Folder of initdb and pg_ctl: on the PATH, or where Debian keeps the newest version."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return debian[-1].parent if debian else None


@contextmanager
def postgresql() -> Iterator[str]:
    """A cluster that lives as long as the context; gives the URL of its default database.

    It listens on a Unix socket alone. PostgreSQL refuses to run as root: then it runs as the user ``postgres``.
    """
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed and scripts/install_postgresql.sh could not install it")
    with TemporaryDirectory(prefix="fw-pg-") as folder:
        home = Path(folder)
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(home, "postgres", "postgres")
        data, log = home / "data", home / "log"

        def run(program: str, *arguments: str) -> None:
            command = [*user, str(programs / program), "-D", str(data), *arguments]
            done = subprocess.run(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, f"{program}: {done.stdout}\n{log.read_text() if log.exists() else ''}"

        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c fsync=off -c max_connections=100"
        # pg_ctl hands its output on to the server: without --log it would hold our pipe open for ever.
        run("pg_ctl", "--wait", f"--log={log}", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={home}"
        finally:
            run("pg_ctl", "--wait", "-m", "immediate", "stop")
