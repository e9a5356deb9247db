"""A variant before it is written: what is told of its weights is what a runtime will hold."""

from pathlib import Path

import pytest

from convert.dtypes import Dtype
from convert.pipeline import convert
from convert.progress import SilentProgress
from convert.quantize import dense, nbits
from tests.families import tiny

DTYPES = [Dtype.Q4, Dtype.Q8, Dtype.FP16, Dtype.FP32]
ROWS, BLOCKS, WIDTH = 301, 3, 80
"""Of the embedding table, which is the largest matrix."""


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("part_bytes", [1 << 26, 1 << 12])
def test_largest_tensor_is_the_table_in_however_many_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, tied: bool
) -> None:
    for module in (dense, nbits):
        monkeypatch.setattr(module, "PART_LIMIT_BYTES", part_bytes)
    config = tiny.LLAMA | {"tie_word_embeddings": tied}
    source = tiny.save_checkpoint(tmp_path / "in", config, tiny.random_weights(tiny.llama_shapes(config)))
    content = convert(str(source), tmp_path / "out", dtypes=DTYPES, progress=SilentProgress()).manifest
    sizes = {str(variant.dtype): variant.largest_tensor_bytes for variant in content.variants}
    codes = ROWS * BLOCKS * 32  # of 8 bits, also in the variant of 4
    assert sizes == {"q4": codes, "q8": codes, "fp16": 2 * ROWS * WIDTH, "fp32": 4 * ROWS * WIDTH}


def test_largest_tensor_of_an_encoder_is_its_table_though_no_head_reads_it(tmp_path: Path) -> None:
    config = tiny.DISTILBERT | {"vocab_size": 1000}
    source = tiny.save_checkpoint(tmp_path / "in", config, tiny.random_weights(tiny.distilbert_shapes(config)))
    variant = convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32], progress=SilentProgress()).manifest.variants[
        0
    ]
    assert variant.largest_tensor_bytes == 4 * 1000 * 96
    assert not any(name.startswith("head_") for name in variant.cost.per_token)
