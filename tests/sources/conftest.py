"""Toy checkpoint directories, a progress that remembers, and wheels for pip to find."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file


class RecordedProgress:
    """Keeps the phases, their totals and the bytes counted in each."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.done_bytes: dict[str, int] = {}

    def start(self, phase: str, total_bytes: int | None) -> None:
        self.phases.append((phase, total_bytes))
        self.done_bytes[phase] = 0

    def advance(self, size_bytes: int) -> None:
        self.done_bytes[self.phases[-1][0]] += size_bytes

    def message(self, text: str) -> None:
        pass


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def checkpoint_directory(tmp_path: Path) -> Path:
    """config.json, model.safetensors and the tokenizer files of no real model."""
    directory = tmp_path / "toy-model"
    directory.mkdir()
    save_file({"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, directory / "model.safetensors")
    (directory / "config.json").write_text('{"model_type": "toy", "max_position_embeddings": 77}')
    (directory / "tokenizer.json").write_text('{"version":  "1.0"}')
    (directory / "tokenizer_config.json").write_text("{}")
    return directory


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """Writes a wheel that pip downloads from a folder: make_wheel("toy", "1.0", {"toy/a": b"..."}) -> folder."""

    def make(package: str, version: str, members: dict[str, bytes]) -> Path:
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        information = f"{package}-{version}.dist-info"
        texts = {
            f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
            f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{information}/RECORD": "",
        }
        with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as archive:
            for name, content in {**members, **texts}.items():
                archive.writestr(name, content)
        return folder

    return make
