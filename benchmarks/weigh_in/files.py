"""Owns the models that are weighed: the bundled ones, and converted checkpoints of other shapes with random weights."""

from collections.abc import Callable
from pathlib import Path

from benchmarks import gemma_files, model_files
from benchmarks.gemma_files import GEMMA
from benchmarks.model_files import MODELS, WORK, convert, once
from tests.true_shapes import GEMMA_2B, write_gemma

SHAPE_7M, SHAPE_60M, SHAPE_300M = (f"gemma-shape-{size}m" for size in (7, 60, 300))
WIDE_CACHE = "mistral-wide-cache"
SHAPES = {
    SHAPE_60M: {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8, "vocab_size": 32000},
    SHAPE_300M: {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 14, "vocab_size": 64000},
    SHAPE_7M: {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 8, "vocab_size": 8000},
    # A cache of 1 MB for each token, and windows, so that it is filled within seconds: 4 GiB after 4096 tokens.
    WIDE_CACHE: {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "hidden_act": "silu",
        "sliding_window": 128,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 8000,
    },
}
"""Decoders of other shapes, with the tensors of Gemma's."""


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
