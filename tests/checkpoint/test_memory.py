"""Reading a whole checkpoint row by row keeps the resident set small, whatever the size of the file."""

import subprocess
import sys
from pathlib import Path

import pytest

from convert.checkpoint.checkpoint import Checkpoint

LIMIT_MIB = 100
READ_ALL = """
import sys
from pathlib import Path
from convert.checkpoint.gguf import open_gguf
from convert.checkpoint.gguf_families import hugging_face_view
from convert.checkpoint.safetensors import open_safetensors

def resident_kib(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))

path, read = Path(sys.argv[1]), sys.argv[2]
before = resident_kib("VmRSS")
opened = hugging_face_view(open_gguf(path))[1] if path.suffix == ".gguf" else open_safetensors(path).tensors
for tensor in opened.values():
    for start in range(0, tensor.rows, 256):
        getattr(tensor, read)(start, min(start + 256, tensor.rows))
print((resident_kib("VmHWM") - before) / 1024)
"""


def growth_mib(path: Path, read: str) -> float:
    """Peak of the resident set above what it was before the file was opened."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of the resident set is read from /proc")
    command = [sys.executable, "-c", READ_ALL, str(path), read]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return float(done.stdout)


@pytest.mark.parametrize("read", ["read_rows", "read_blocks"])
def test_reading_smollm2_by_rows_stays_small(smollm2_checkpoint: Checkpoint, read: str) -> None:
    assert smollm2_checkpoint.mapped[0].size_bytes > 93 << 20
    assert growth_mib(smollm2_checkpoint.mapped[0].path, read) < LIMIT_MIB


def test_reading_minilm_by_rows_stays_small(minilm_checkpoint: Checkpoint) -> None:
    assert minilm_checkpoint.mapped[0].size_bytes > 86 << 20
    assert growth_mib(minilm_checkpoint.mapped[0].path, "read_rows") < LIMIT_MIB / 2
