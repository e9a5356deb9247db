"""A conversion that is stopped, or has no room, leaves nothing behind."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from convert.dtypes import Dtype
from tests.command_line.command import COMMAND, ROOT, fail, one_object, succeed
from tests.families import tiny
from tests.test_publish import small_disk


@pytest.fixture(scope="module")
def large_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that a signal arrives while it is being converted."""
    config = tiny.LLAMA | {"vocab_size": 200_003, "tie_word_embeddings": True}
    weights = tiny.random_weights(tiny.llama_shapes(config | {"vocab_size": 301}))
    weights["model.embed_tokens.weight"] = np.ones((config["vocab_size"], config["hidden_size"]), np.float32)
    return tiny.save_checkpoint(tmp_path_factory.mktemp("large") / "llama", config, weights)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("there", ["nothing", "old model"])
def test_interrupted_conversion_leaves_everything_as_it_was(
    large_checkpoint: Path, checkpoint: Path, tmp_path: Path, number: signal.Signals, there: str
) -> None:
    out = tmp_path / "parent" / "mine"
    if there == "old model":
        succeed("convert", checkpoint, out, "--dtype", "fp32")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    command = [*COMMAND, "convert", str(large_checkpoint), str(out), "--dtype", ",".join(Dtype), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not list(tmp_path.glob("parent/.mine.partial-*/onnx/*")):
            assert process.poll() is None, "it was over before it could be interrupted"
            time.sleep(0.002)
        process.send_signal(number)
        said, errors = process.communicate()
    assert process.returncode == 130, errors
    assert one_object(said)["error"]["kind"] == "Interrupted"
    assert errors.splitlines()[-1] == "featherweight: error: interrupted; nothing half-written was left"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.glob("parent/*")] == (["mine"] if there == "old model" else [])
    assert not list(tmp_path.glob("parent/.*"))


def test_conversion_to_a_full_disk_is_one_error_and_leaves_nothing(large_checkpoint: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        assert "disk full: needed" in fail(1, "convert", large_checkpoint, disk / "mine", "--dtype", "fp32")
        assert list(disk.iterdir()) == []
