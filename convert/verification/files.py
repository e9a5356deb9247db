"""Checks that the files of a model directory are exactly those of its manifest, byte for byte."""

from collections.abc import Iterator
from pathlib import Path

from convert.manifest import NAME, Manifest
from convert.progress import Progress
from convert.shards import CHUNK_BYTES, FileEntry, hash_file
from convert.verification.problem import Problem

SHOWN_CHUNKS = 5


def check_files(model_dir: Path, manifest: Manifest, progress: Progress) -> Iterator[Problem]:
    """Hash every listed file, and look for files that are not listed."""
    progress.start("verify files", sum(entry.size_bytes for entry in manifest.files.values()))
    for number, entry in enumerate(manifest.files.values(), start=1):
        progress.message(f"file {number} of {len(manifest.files)}: {entry.path}")
        yield from (Problem(entry.path, problem) for problem in _check_file(model_dir / entry.path, entry, progress))
    for path in sorted(model_dir.rglob("*")):
        name = path.relative_to(model_dir).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name != NAME and name not in manifest.files:
            yield Problem(name, "is not listed in the manifest; remove it")


def _check_file(path: Path, entry: FileEntry, progress: Progress) -> Iterator[str]:
    if not path.is_file():
        yield "is missing" if not path.exists() else "is not a file"
        return
    if path.is_symlink():
        yield "is a symbolic link, which ONNX Runtime may refuse; copy the file itself"
    try:
        found = hash_file(path, entry.path, progress.advance)
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
        return
    if found.size_bytes != entry.size_bytes:
        yield f"has {found.size_bytes} bytes, but the manifest says {entry.size_bytes}"
    elif wrong := [i for i, pair in enumerate(zip(found.chunks, entry.chunks, strict=True)) if pair[0] != pair[1]]:
        shown = ", ".join(map(str, wrong[:SHOWN_CHUNKS])) + (", ..." if len(wrong) > SHOWN_CHUNKS else "")
        yield (
            f"{len(wrong)} of {len(entry.chunks)} chunks differ from their hashes "
            f"(chunk {shown}; the first begins at byte {wrong[0] * CHUNK_BYTES})"
        )
    elif found.sha256 != entry.sha256:
        yield f"has SHA-256 {found.sha256}, but the manifest says {entry.sha256}"
