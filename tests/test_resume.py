"""An interrupted conversion goes on where it was: the same bytes, less work, and nothing of another conversion."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.dtypes import Dtype
from convert.errors import BadCheckpoint
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.resume import JOURNAL_NAME
from convert.shards import SHARD_LIMIT_BYTES
from tests.families import tiny

ROOT = Path(__file__).parent.parent
DTYPES = [Dtype.Q4, Dtype.Q8, Dtype.FP32]
"""One shard each; the third is never finished at first."""
FINISHED = ("onnx/model_q4.onnx_data", "onnx/model_quantized.onnx_data")


class Stopping(SilentProgress):
    """Ends the work with ``error`` when the third variant begins."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def message(self, text: str) -> None:
        if text.startswith(f"{DTYPES[-1]}: tensor 1 "):
            raise self.error


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def inodes(directory: Path) -> list[int]:
    return [(directory / name).stat().st_ino for name in FINISHED]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    config = tiny.LLAMA | {"tie_word_embeddings": True}
    return tiny.save_checkpoint(tmp_path / "in", config, tiny.random_weights(tiny.llama_shapes(config)))


def run(source: Path, out: Path, progress: Any = None, **options: Any) -> None:
    convert(str(source), out, dtypes=DTYPES, progress=progress or SilentProgress(), **options)


def interrupt(source: Path, out: Path, **options: Any) -> Path:
    """Run until the third variant begins; the directory that stays."""
    with pytest.raises(KeyboardInterrupt) as interrupted:
        run(source, out, Stopping(KeyboardInterrupt()), **options)
    (kept,) = out.parent.glob(f".{out.name}.partial-*")
    assert interrupted.value.__notes__ == [f"finished files are kept in {kept} for the next run of the same command"]
    return kept


def uninterrupted(source: Path, tmp_path: Path) -> dict[str, bytes]:
    run(source, tmp_path / "elsewhere" / "model")
    return contents(tmp_path / "elsewhere" / "model")


def test_finished_shards_are_kept_and_the_bytes_are_the_same(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    kept = interrupt(source, out)
    assert not out.exists()
    before = inodes(kept)
    run(source, out)
    assert inodes(out) == before
    assert contents(out) == uninterrupted(source, tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_killed_process_is_resumed_too(source: Path, tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from tests.test_resume import Stopping, run
class Killing(Stopping):
    def message(self, text):
        try:
            super().message(text)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGKILL)
run(Path({str(source)!r}), Path({str(tmp_path / "model")!r}), Killing(KeyboardInterrupt()))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    (kept,) = tmp_path.glob(".model.partial-*")
    before = inodes(kept)
    run(source, tmp_path / "model")
    assert inodes(tmp_path / "model") == before
    assert contents(tmp_path / "model") == uninterrupted(source, tmp_path)


def test_damaged_and_unfinished_files_are_written_anew(source: Path, tmp_path: Path) -> None:
    kept = interrupt(source, tmp_path / "model")
    damaged = kept / FINISHED[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff\xff")
    (kept / "onnx/model.onnx_data").write_bytes(b"half")
    (kept / "stray").write_text("nothing of ours")
    with (kept / JOURNAL_NAME).open("a") as journal:
        journal.write('{"path": "torn')
    run(source, tmp_path / "model")
    assert contents(tmp_path / "model") == uninterrupted(source, tmp_path)


def test_a_link_in_the_place_of_a_shard_is_not_followed(source: Path, tmp_path: Path) -> None:
    kept = interrupt(source, tmp_path / "model")
    outside = tmp_path / "outside"
    (kept / FINISHED[0]).rename(outside)
    (kept / FINISHED[0]).symlink_to(outside)
    content = outside.read_bytes()
    run(source, tmp_path / "model")
    assert not (tmp_path / "model" / FINISHED[0]).is_symlink()
    assert outside.read_bytes() == content
    assert contents(tmp_path / "model") == uninterrupted(source, tmp_path)


@pytest.mark.parametrize("change", ["options", "weights"])
def test_another_conversion_takes_nothing_over(source: Path, tmp_path: Path, change: str) -> None:
    kept = interrupt(source, tmp_path / "model")
    options = {}
    if change == "options":
        options = {"block_size": 64}
    else:
        shapes = tiny.llama_shapes(tiny.LLAMA | {"tie_word_embeddings": True})
        config = json.loads((source / "config.json").read_text())
        tiny.save_checkpoint(source, config, tiny.random_weights(shapes, seed=8))
    run(source, tmp_path / "model", **options)
    run(source, tmp_path / "elsewhere" / "model", **options)
    assert contents(tmp_path / "model") == contents(tmp_path / "elsewhere" / "model")
    assert not kept.exists()


def test_bad_input_leaves_nothing_to_resume(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint):
        run(source, tmp_path / "model", Stopping(BadCheckpoint("damaged")))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_replaced_weights_are_not_resumed_since_they_would_go_unsaid(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "model", Stopping(KeyboardInterrupt()), allow_nonfinite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_scales_of_codes_that_an_earlier_run_wrote_are_made_again(tmp_path: Path) -> None:
    """The codes of a large table end a shard; its scales begin the next one."""
    config = tiny.LLAMA | {"vocab_size": 700_001, "hidden_size": 96, "tie_word_embeddings": True}
    weights = tiny.random_weights(tiny.llama_shapes(config | {"vocab_size": 301}))
    table = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = np.resize(table, (config["vocab_size"], table.shape[1]))
    source = tiny.save_checkpoint(tmp_path / "in", config, weights)
    expected = tmp_path / "expected"
    convert(str(source), expected, dtypes=[Dtype.Q8], model_id="model", progress=SilentProgress())
    shards = sorted(path.name for path in (expected / "onnx").glob("*data*"))
    assert len(shards) > 1

    class Counting(SilentProgress):
        phase, done = "", 0

        def start(self, phase: str, total_bytes: int | None) -> None:
            self.phase = phase

        def advance(self, size_bytes: int) -> None:
            self.done += size_bytes if self.phase == "convert" else 0
            if self.done > SHARD_LIMIT_BYTES:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(str(source), tmp_path / "model", dtypes=[Dtype.Q8], progress=Counting())
    assert len(list(tmp_path.glob(".model.partial-*"))) == 1
    convert(str(source), tmp_path / "model", dtypes=[Dtype.Q8], progress=SilentProgress())
    assert contents(tmp_path / "model") == contents(expected)
