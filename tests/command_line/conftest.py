"""A checkpoint and a decoder for all tests of the command line."""

from pathlib import Path

import pytest

from convert.dtypes import Dtype
from tests import model_directories
from tests.families import tiny


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "llama"
    tiny.save_checkpoint(folder, tiny.LLAMA, tiny.random_weights(tiny.llama_shapes(tiny.LLAMA)))
    model_directories.save_tokenizer(folder, marks=False)
    return folder


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directories.decoder(tmp_path_factory.mktemp("cli"), Dtype.FP32, Dtype.Q4)
