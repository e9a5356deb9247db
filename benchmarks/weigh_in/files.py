"""Owns the models that are weighed: the bundled ones, and converted checkpoints of other shapes with random weights."""

from collections.abc import Callable
from pathlib import Path

from benchmarks import gemma_files, model_files
from benchmarks.gemma_files import GEMMA
from benchmarks.model_files import MODELS, WORK, convert, once
from tests.true_shapes import GEMMA_2B, write_gemma

SHAPE_60M, SHAPE_300M, LONG_CONTEXT = "gemma-shape-60m", "gemma-shape-300m", "long-context-7m"
SHAPES = {
    SHAPE_60M: {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "vocab_size": 32000},
    SHAPE_300M: {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 14, "vocab_size": 64000},
    # Few weights and a wide cache: a full context takes more than 4 GiB.
    LONG_CONTEXT: {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 8,
        "vocab_size": 8000,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
    },
}
"""Decoders of other shapes, of Gemma's family."""


def prepare(models: set[str], say: Callable[[str], None]) -> None:
    """Convert what is missing of these under build/bench/models; Gemma 2B takes minutes and 7 GB of disk."""
    model_files.prepare_ours(say)
    for name in models & set(SHAPES):
        once(MODELS / name, say, lambda target, name=name: _shaped(name, target))
    if GEMMA in models:
        gemma_files.prepare_model(GEMMA, say)


def _shaped(name: str, target: Path) -> None:
    checkpoint = WORK / "checkpoints" / name
    write_gemma(checkpoint, {**GEMMA_2B, "num_attention_heads": 4, **SHAPES[name]})
    convert(checkpoint, target, "q4", "q8")
