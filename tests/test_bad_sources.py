"""Whatever is wrong with a source, a conversion says it in one sentence and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.dtypes import Dtype
from convert.errors import FeatherweightError
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families import decoders, tiny
from tests.gguf_files import write_gguf

CASE = "qwen2"
Weights = dict[str, Any]


def weights(**changes: Any) -> Weights:
    return tiny.random_weights(decoders.shapes(CASE)) | changes


def write_directory(folder: Path, content: Weights) -> Path:
    return tiny.save_checkpoint(folder / "in", decoders.CASES[CASE], content)


def write_file(folder: Path, content: Weights) -> Path:
    return write_gguf(folder / "in.gguf", decoders.CASES[CASE], content)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)


def truncated_directory(folder: Path) -> Path:
    source = write_directory(folder, weights())
    cut(source / "model.safetensors")
    return source


def truncated_file(folder: Path) -> Path:
    source = write_file(folder, weights())
    cut(source)
    return source


def unknown_type(folder: Path) -> Path:
    """The same bytes, said to be of a type of llama.cpp's that is not read."""
    source = write_file(folder, weights())
    raw = source.read_bytes()
    name = b"blk.0.ffn_up.weight"
    at = raw.index(name) + len(name) + 4 + 2 * 8  # the number of dimensions, and two of them
    source.write_bytes(raw[:at] + (20).to_bytes(4, "little") + raw[at + 4 :])
    return source


def without_tokenizer(folder: Path) -> Path:
    source = write_directory(folder, weights())
    (source / "tokenizer.json").unlink()
    return source


def link_outside(folder: Path) -> Path:
    source = write_directory(folder, weights())
    shutil.move(source / "model.safetensors", folder / "elsewhere.safetensors")
    (source / "model.safetensors").symlink_to("../elsewhere.safetensors")
    return source


def index_outside(folder: Path) -> Path:
    source = write_directory(folder, weights())
    shutil.move(source / "model.safetensors", folder / "elsewhere.safetensors")
    placement = dict.fromkeys(weights(), "../elsewhere.safetensors")
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placement}))
    return source


NORM, MATRIX = "model.layers.1.input_layernorm.weight", "model.layers.1.mlp.up_proj.weight"
BAD = np.full((160, 80), np.nan, np.float32)
ENDLESS = np.full((160, 80), np.inf, np.float32)
SHORT = np.ones((159, 80), np.float32)
WHOLE = np.ones((160, 80), np.int32)
SOURCES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "directory: truncated": (truncated_directory, "the file is truncated"),
    "directory: no tokenizer": (without_tokenizer, "tokenizer.json: is missing"),
    "directory: link outside": (link_outside, "is a link to a file outside"),
    "directory: index outside": (index_outside, "leads outside the directory"),
    "directory: wrong shape": (lambda folder: write_directory(folder, weights(**{MATRIX: SHORT})), "has shape"),
    "directory: wrong dtype": (lambda folder: write_directory(folder, weights(**{MATRIX: WHOLE})), "has dtype I32"),
    "directory: NaN": (lambda folder: write_directory(folder, weights(**{MATRIX: BAD})), "NaN or infinite"),
    "gguf: truncated": (truncated_file, "the file is truncated"),
    "gguf: wrong shape": (lambda folder: write_file(folder, weights(**{MATRIX: SHORT})), "has shape"),
    "gguf: NaN": (lambda folder: write_file(folder, weights(**{MATRIX: BAD})), "NaN or infinite"),
    "directory: infinite": (lambda folder: write_directory(folder, weights(**{MATRIX: ENDLESS})), "NaN or infinite"),
    "directory: config disagrees": (
        lambda folder: tiny.save_checkpoint(folder / "in", decoders.CASES[CASE] | {"num_hidden_layers": 2}, weights()),
        "has no place in the model",
    ),
    "gguf: infinite": (lambda folder: write_file(folder, weights(**{MATRIX: ENDLESS})), "NaN or infinite"),
    "gguf: wrong dtype": (unknown_type, "has type IQ4_NL"),
    "gguf: missing tensor": (
        lambda folder: write_file(folder, {name: value for name, value in weights().items() if name != NORM}),
        "'blk.1.attn_norm.weight' is missing",
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_one_sentence_and_nothing_left(tmp_path: Path, source: str) -> None:
    write, said = SOURCES[source]
    (tmp_path / "sources").mkdir()
    place = write(tmp_path / "sources")
    with pytest.raises(FeatherweightError) as error:
        convert(str(place), tmp_path / "out" / "model", dtypes=[Dtype.Q4], progress=SilentProgress())
    message = str(error.value)
    assert said in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["sources"]
