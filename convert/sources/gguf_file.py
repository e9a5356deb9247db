"""Owns the GGUF source: one file that brings weights, configuration and tokenizer."""

from pathlib import Path

from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.gguf import open_gguf
from convert.checkpoint.gguf_families import hugging_face_view
from convert.checkpoint.tokenizer_gguf import generation_ids, tokenizer_files
from convert.errors import SourceNotFound
from convert.progress import Progress
from convert.sources.fingerprint import file_sha256

_SUFFIX = ".gguf"


def matches(source: str) -> bool:
    """Whether ``source`` names a GGUF file, there or not, or is a file that begins like one."""
    path = Path(source)
    return source.lower().endswith(_SUFFIX) or (path.is_file() and _begins_like_gguf(path))


def open_source(source: str, revision: str | None, progress: Progress) -> Checkpoint:
    """Open the GGUF file ``source``."""
    path = Path(source)
    if not path.is_file():
        raise SourceNotFound(f"{source}: is not there; check the path of the .gguf file")
    return open_gguf_file(path, progress)


def open_gguf_file(path: Path, progress: Progress, provenance: dict[str, str] | None = None) -> Checkpoint:
    """Open a GGUF file; it is hashed unless ``provenance`` says already where it is from.

    Raises:
        UnsupportedModel: architecture, tensor type or tokenizer are not supported.
        BadCheckpoint: the file is damaged, incomplete or hostile.
    """
    gguf = open_gguf(path)
    try:
        config, tensors = hugging_face_view(gguf)
        files = tokenizer_files(gguf.metadata, vocab_size=config["vocab_size"])
        if provenance is None:
            progress.start("fingerprint", gguf.file.size_bytes)
            provenance = {"kind": "gguf", "name": path.name, "revision": f"sha256:{file_sha256(path, progress)}"}
        return Checkpoint(
            tensors=tensors,
            config=config | generation_ids(gguf.metadata),
            files=files,
            name=gguf.metadata.text("general.name", default=path.stem),
            license=gguf.metadata.text("general.license", default="unknown").lower(),
            provenance=provenance,
            mapped=(gguf.file,),
        )
    except BaseException:
        gguf.file.close()
        raise


def _begins_like_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except OSError:
        return False
