"""Owns the export of architectures that no family builds: optimum's ONNX exporter, run in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from convert.errors import UnsupportedModel
from convert.progress import Progress

INSTALL = "pip install 'featherweight[optimum]'"
OPSET = 18
"""The highest that the operators of our own blocks and the exporter share."""
_WITH_PAST = {"text-generation": "text-generation-with-past"}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def exported(directory: Path, model_type: str, task: str, progress: Progress) -> Iterator[Path]:
    """Yield the float32 graph of the checkpoint in ``directory``; it is gone afterwards.

    Code that a checkpoint brings along is never run.

    Raises:
        UnsupportedModel: optimum is not installed, or cannot export this architecture.
    """
    if not (find_spec("optimum") and find_spec("torch")):
        raise UnsupportedModel(
            f"model_type {model_type!r} in config.json has no family here, and optimum, which could export it, is not "
            f"installed; {INSTALL}, or choose another model"
        )
    with TemporaryDirectory(prefix="featherweight-export-") as folder:
        progress.start("export", None)
        progress.message(f"{model_type} by optimum")
        command = [sys.executable, "-m", "optimum.exporters.onnx", "--model", str(directory.resolve())]
        command += ["--task", _WITH_PAST.get(task, task), "--opset", str(OPSET), folder]
        done = subprocess.run(command, env=os.environ | _OFFLINE, capture_output=True, text=True, check=False)
        graph = Path(folder) / "model.onnx"
        if done.returncode or not graph.is_file():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UnsupportedModel(
                f"model_type {model_type!r} in config.json has no family here, and optimum cannot export it for "
                f"{task} ({reason.strip()}); choose another model or task"
            )
        yield graph
