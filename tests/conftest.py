"""The bundled models, converted once per run, for every test that needs real weights."""

from pathlib import Path

import pytest

from convert.checkpoint.checkpoint import Checkpoint
from convert.dtypes import Dtype
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.sources import resolve

DATA = Path(__file__).parent / "data"


def _converted(name: str, dtypes: list[Dtype], root: Path) -> Path:
    out = root / name
    convert(f"bundled:{name}", out, dtypes=dtypes, progress=SilentProgress())
    return out


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as fp32, q4 and q8."""
    return _converted("smollm2-135m-instruct", [Dtype.FP32, Dtype.Q4, Dtype.Q8], tmp_path_factory.mktemp("smollm2"))


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM as DistilBERT in fp32 and q8."""
    return _converted("minilm-distilbert", [Dtype.FP32, Dtype.Q8], tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="session")
def smollm2_checkpoint() -> Checkpoint:
    """The GGUF that SmolLM2 is converted from."""
    return resolve("bundled:smollm2-135m-instruct", revision=None, progress=SilentProgress())


@pytest.fixture(scope="session")
def minilm_checkpoint() -> Checkpoint:
    """The safetensors that MiniLM is converted from."""
    return resolve("bundled:minilm-distilbert", revision=None, progress=SilentProgress())
