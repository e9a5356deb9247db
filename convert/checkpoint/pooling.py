"""Owns what the sentence-transformers files beside an encoder say about making one vector of its token vectors."""

import json
from pathlib import Path
from typing import Any

from convert.checkpoint.untrusted import contained_path, parse_json_object, quote, read_small_file
from convert.errors import BadCheckpoint, UnsupportedModel

MODULES_NAME = "modules.json"
SENTENCE_CONFIG_NAME = "sentence_bert_config.json"
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def read_pooling(directory: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """{"mode", "normalize", "max_tokens"}, or None when the directory has no ``modules.json``.

    Raises:
        UnsupportedModel: another chain than Transformer, Pooling (mean or cls), Normalize.
        BadCheckpoint: a file is damaged.
    """
    if not (directory / MODULES_NAME).is_file():
        return None
    modules = _read_modules(directory)
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnsupportedModel(
            f"{directory / MODULES_NAME}: chains {quote(' > '.join(kinds))}, "
            "expected Transformer > Pooling, and optionally Normalize; choose another model"
        )
    return {
        "mode": _read_mode(contained_path(directory, f"{modules[1][1]}/config.json")),
        "normalize": "Normalize" in kinds,
        "max_tokens": _read_max_tokens(directory, config),
    }


def _read_modules(directory: Path) -> list[tuple[str, str]]:
    """Class name and folder of each module, in order."""
    path = contained_path(directory, MODULES_NAME)
    try:
        modules = json.loads(read_small_file(path))
        return [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in modules]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise BadCheckpoint(f"{path}: is not a list of modules with type and path; fetch the file again") from error


def _read_mode(path: Path) -> str:
    pooling = parse_json_object(read_small_file(path), str(path))
    asked = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value is True]
    mode = pooling.get("pooling_mode")
    if isinstance(mode, str):  # The newer form of the file.
        asked.append(next((key for key, value in _MODES.items() if value == mode), mode))
    if len(set(asked)) != 1 or asked[0] not in _MODES:
        raise UnsupportedModel(
            f"{path}: asks for the pooling {quote(', '.join(asked))}, expected mean or cls alone; choose another model"
        )
    return _MODES[asked[0]]


def _read_max_tokens(directory: Path, config: dict[str, Any]) -> int:
    path, length = contained_path(directory, SENTENCE_CONFIG_NAME), None
    if path.is_file():
        length = parse_json_object(read_small_file(path), str(path)).get("max_seq_length")
    if length is None:
        length = config.get("max_position_embeddings")
    if type(length) is not int or length < 1:
        raise BadCheckpoint(f"{path}: max_seq_length is {quote(length)}, expected a positive whole number of tokens")
    return length
