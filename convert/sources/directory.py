"""Owns the directory source: config.json, safetensors weights and the tokenizer files beside them."""

import re
from pathlib import Path
from typing import Any

from convert.checkpoint.checkpoint import PICKLE_ADVICE, PICKLE_SUFFIXES, Checkpoint
from convert.checkpoint.pooling import read_pooling
from convert.checkpoint.safetensors import INDEX_NAME, StoredTensors, open_safetensors, open_sharded_safetensors
from convert.checkpoint.untrusted import contained_path, parse_json_object, quote, read_small_file
from convert.errors import BadCheckpoint, SourceNotFound, UnsupportedModel
from convert.progress import Progress
from convert.sources.fingerprint import directory_sha256

WEIGHTS_NAME = "model.safetensors"
REQUIRED_FILES = ("tokenizer.json", "tokenizer_config.json")
OPTIONAL_FILES = ("special_tokens_map.json", "generation_config.json", "chat_template.jinja")
_LICENSE = re.compile(r"^license:[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?([A-Za-z0-9][A-Za-z0-9.+-]{0,63})", re.MULTILINE)


def matches(source: str) -> bool:
    """Whether ``source`` is a directory."""
    return bool(source) and Path(source).is_dir()


def open_source(source: str, revision: str | None, progress: Progress) -> Checkpoint:
    """Open the directory ``source``."""
    return open_directory(Path(source), progress)


def open_directory(directory: Path, progress: Progress, provenance: dict[str, str] | None = None) -> Checkpoint:
    """Open a checkpoint directory; its files are hashed unless ``provenance`` says already where they are from.

    Raises:
        SourceNotFound: it holds no checkpoint.
        UnsupportedModel: it holds pickles, or several unrelated weight files.
        BadCheckpoint: a file is damaged, hostile or missing.
    """
    weights_path = _find_weights(directory)
    config = _read_config(directory)
    files = _read_files(directory)
    pooling = read_pooling(directory, config)
    sharded = weights_path.name == INDEX_NAME
    weights = open_sharded_safetensors(weights_path) if sharded else open_safetensors(weights_path)
    try:
        return Checkpoint(
            tensors=weights.tensors,
            config=config,
            files=files,
            name=directory.resolve().name,
            license=_read_license(directory),
            provenance=provenance or _fingerprint(directory, weights, list(files), progress),
            pooling=pooling,
            mapped=weights.files,
            directory=directory,
        )
    except BaseException:
        for file in weights.files:
            file.close()
        raise


def _find_weights(directory: Path) -> Path:
    """The safetensors file or index, chosen as transformers does: model.safetensors, the index, then a lone file."""
    for name in (WEIGHTS_NAME, INDEX_NAME):
        if (directory / name).is_file():
            return contained_path(directory, name)
    names = sorted(path.name for path in directory.iterdir() if path.is_file())
    found = [name for name in names if name.endswith(".safetensors")]
    if len(found) == 1:
        return contained_path(directory, found[0])
    if found:
        raise UnsupportedModel(
            f"{directory}: holds {len(found)} safetensors files ({quote(found[0])}, ...), expected {WEIGHTS_NAME} or "
            f"{INDEX_NAME}; keep one of them"
        )
    pickles = [name for name in names if name.lower().endswith(PICKLE_SUFFIXES)]
    if pickles:
        raise UnsupportedModel(
            f"{directory / pickles[0]}: is a pickle file, which runs code when read, and no safetensors are beside it; "
            f"{PICKLE_ADVICE}"
        )
    gguf = [name for name in names if name.endswith(".gguf")]
    if gguf:
        raise SourceNotFound(f"{directory}: holds no *.safetensors; name the file {quote(gguf[0])} in it instead")
    raise SourceNotFound(
        f"{directory}: holds no *.safetensors, expected {WEIGHTS_NAME} beside config.json; name another directory"
    )


def _read_config(directory: Path) -> dict[str, Any]:
    path = contained_path(directory, "config.json")
    if not path.is_file():
        raise BadCheckpoint(f"{path}: is missing; fetch it from where the weights are from")
    config = parse_json_object(read_small_file(path), str(path))
    if not isinstance(config.get("model_type"), str):
        raise BadCheckpoint(f"{path}: has no model_type, expected the name of the architecture; fetch the file again")
    return config


def _read_files(directory: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name in (*REQUIRED_FILES, *OPTIONAL_FILES):
        path = contained_path(directory, name)
        if path.is_file():
            files[name] = read_small_file(path)
        elif name in REQUIRED_FILES:
            raise BadCheckpoint(
                f"{path}: is missing; write it with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            )
    return files


def _read_license(directory: Path) -> str:
    """The licence that the front matter of README.md names, in lower case, else "unknown"."""
    path = contained_path(directory, "README.md")
    if not path.is_file():
        return "unknown"
    text = read_small_file(path).decode("utf-8", "replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return "unknown"
    match = _LICENSE.search(text[4:].partition("\n---")[0])
    return match[1].lower() if match else "unknown"


def _fingerprint(directory: Path, weights: StoredTensors, names: list[str], progress: Progress) -> dict[str, str]:
    sizes = {file.path.name: file.size_bytes for file in weights.files}
    sizes |= {name: (directory / name).stat().st_size for name in ("config.json", *names)}
    progress.start("fingerprint", sum(sizes.values()))
    return {
        "kind": "safetensors",
        "name": directory.resolve().name,
        "revision": f"sha256:{directory_sha256(directory, sizes, progress)}",
    }
