"""The GGUF source, on the bundled model as a plain file."""

import hashlib
import shutil

import pytest

from convert.errors import BadCheckpoint, SourceNotFound
from convert.sources import resolve


def test_opens_a_file_like_the_bundled_one(smollm2_checkpoint, progress):
    path = smollm2_checkpoint.mapped[0].path
    with resolve(str(path), revision=None, progress=progress) as checkpoint:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert checkpoint.provenance == {"kind": "gguf", "name": path.name, "revision": f"sha256:{digest}"}
        assert checkpoint.config == smollm2_checkpoint.config
        assert checkpoint.files == smollm2_checkpoint.files
        assert list(checkpoint.tensors) == list(smollm2_checkpoint.tensors)
        assert (checkpoint.name, checkpoint.license) == ("Smollm2 135M 8k Lc100K Mix1 Ep2", "apache-2.0")
    assert progress.done_bytes == {"fingerprint": path.stat().st_size}


def test_knows_a_gguf_file_of_another_name(smollm2_checkpoint, progress, tmp_path):
    with smollm2_checkpoint.mapped[0].path.open("rb") as whole, (tmp_path / "model").open("wb") as part:
        shutil.copyfileobj(whole, part)
        part.truncate(1 << 20)
    with pytest.raises(BadCheckpoint, match="fetch it again"):
        resolve(str(tmp_path / "model"), revision=None, progress=progress)


def test_rejects_truncated_download(smollm2_checkpoint, progress, tmp_path):
    path = smollm2_checkpoint.mapped[0].path
    shutil.copyfile(path, tmp_path / "m.gguf")
    with (tmp_path / "m.gguf").open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(BadCheckpoint, match="are there; the file is truncated"):
        resolve(str(tmp_path / "m.gguf"), revision=None, progress=progress)


def test_rejects_missing_file(progress, tmp_path):
    with pytest.raises(SourceNotFound, match="is not there"):
        resolve(str(tmp_path / "m.gguf"), revision=None, progress=progress)
