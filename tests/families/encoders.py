"""Reads what make_encoder_vectors.py stored of the original implementations, and makes the checkpoints they had."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.families import tiny

DATA = Path(__file__).parent.parent / "data" / "families"


@cache
def original(model_type: str) -> dict[str, Any]:
    """The stored content: config, shapes, and per task inputs and outputs."""
    content: dict[str, Any] = json.loads((DATA / f"{model_type}.json").read_text())
    return content


def save_checkpoint(directory: Path, model_type: str, **changes: Any) -> Path:
    """The checkpoint that the outputs were made with, with every head."""
    content = original(model_type)
    shapes = {name: tuple(shape) for name, shape in content["shapes"].items()}
    weights = tiny.random_weights(shapes, gain=content["gain"])
    return tiny.save_checkpoint(directory, content["config"] | changes, weights)


def arrays(stored: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Inputs or outputs: whole numbers int64, others float32."""
    read = {name: np.array(value) for name, value in stored.items()}
    return {name: value.astype(np.int64 if value.dtype.kind == "i" else np.float32) for name, value in read.items()}


def cosine(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Of the two as a whole."""
    return float((left * right).sum() / (np.linalg.norm(left) * np.linalg.norm(right)))
