"""Owns rotary position embedding: its scaled frequencies, and its tables, computed in the graph, not downloaded."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext

Frequencies = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Rotary:
    """Rotation of the first ``width`` elements of every head (Su et al. 2021); layers share tables by ``name``."""

    width: int
    """Even; GroupQueryAttention wants a multiple of 16."""
    positions: int
    theta: float
    scaling: Mapping[str, Any] = field(default_factory=dict)
    """``rope_scaling`` of a Hugging Face config."""
    magnitude: float = 1.0
    """Factor of cosine and sine."""
    name: str = "rotary_emb"

    @property
    def kind(self) -> str:
        """A key of ``SCALINGS``, if it is one that is supported."""
        return str(self.scaling.get("rope_type", self.scaling.get("type", "default")))

    def frequencies(self) -> Frequencies:
        """Radians per position, [width / 2].

        Raises:
            UnsupportedModel: the scaling has no row in ``SCALINGS``, or lacks a number that it needs.
        """
        if self.kind not in SCALINGS:
            raise UnsupportedModel(
                f"rope_type={self.kind!r} in config.json is not supported; supported: {', '.join(sorted(SCALINGS))}"
            )
        exponents: Frequencies = np.arange(0, self.width, 2, dtype=np.float32) / np.float32(self.width)
        return SCALINGS[self.kind](np.float32(1.0) / np.float32(self.theta) ** exponents, self.scaling)


def rope_number(parameters: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A positive number among the rotary parameters of a config.

    Raises:
        UnsupportedModel: it is none.
    """
    value = parameters.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UnsupportedModel(f"the rotary parameters in config.json have {key}={value!r}, expected a positive number")
    return float(value)


def _default(frequencies: Frequencies, scaling: Mapping[str, Any]) -> Frequencies:
    return frequencies


def _linear(frequencies: Frequencies, scaling: Mapping[str, Any]) -> Frequencies:
    """Positions interpolated by one factor (Chen et al. 2023)."""
    return (frequencies / rope_number(scaling, "factor")).astype(np.float32)


def _llama3(frequencies: Frequencies, scaling: Mapping[str, Any]) -> Frequencies:
    """Slow frequencies divided by the factor, fast ones kept, those between blended (Llama 3.1)."""
    factor, low, high, length = (
        rope_number(scaling, key)
        for key in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    )
    if high <= low:
        raise UnsupportedModel(f"rope_scaling in config.json has high_freq_factor={high}, expected more than {low}")
    turns = length * frequencies / (2 * math.pi)
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    scaled: Frequencies = (frequencies * ((1.0 - kept) / factor + kept)).astype(np.float32)
    return scaled


def _longrope(frequencies: Frequencies, scaling: Mapping[str, Any]) -> Frequencies:
    """One divisor per frequency (Ding et al. 2024); the short ones, which hold up to the original context length."""
    divisors = scaling.get("short_factor")
    if not isinstance(divisors, list) or len(divisors) != len(frequencies):
        raise UnsupportedModel(
            f"rope_scaling in config.json has no short_factor of {len(frequencies)} numbers; "
            "is it the checkpoint's own?"
        )
    numbers = [rope_number({"short_factor": item}, "short_factor") for item in divisors]
    divided: Frequencies = (frequencies / np.array(numbers)).astype(np.float32)
    return divided


SCALINGS: dict[str, Callable[[Frequencies, Mapping[str, Any]], Frequencies]] = {
    "default": _default,
    "dynamic": _default,  # it differs beyond max_position_embeddings only, where our contexts end
    "linear": _linear,
    "llama3": _llama3,
    "longrope": _longrope,
    "su": _longrope,  # its first name, in early Phi-3 checkpoints
}
"""By ``rope_type``."""


def rotary_tables(context: BuildContext, rotary: Rotary) -> tuple[str, str]:
    """Cosine and sine [positions, width / 2], as GroupQueryAttention reads them.

    The nodes depend on constants only, so a session computes them once while it loads; stored, the tables would be
    ``4 * positions * width`` bytes of every download.

        Range -- Unsqueeze -- Mul(frequencies) --+-- Cos [-- Mul(magnitude)] [-- Cast] --
                                                 +-- Sin [-- Mul(magnitude)] [-- Cast] --
    """
    graph, path = context.graph, f"/model/{rotary.name}"
    limits = [np.array(value, np.float32) for value in (0.0, rotary.positions, 1.0)]
    names = [
        graph.constant(value, f"{path}/{part}") for value, part in zip(limits, ("start", "limit", "delta"), strict=True)
    ]
    steps = graph.node("Range", names, f"{path}/Range")[0]
    column = graph.node("Unsqueeze", [steps, graph.constant([1], "/constants/axis_1")], f"{path}/Unsqueeze")[0]
    inverse = graph.constant(rotary.frequencies().reshape(1, -1), f"{path}/inverse_frequency")
    angles = graph.node("Mul", [column, inverse], f"{path}/Mul")[0]
    tables = []
    for function in ("Cos", "Sin"):
        table = graph.node(function, [angles], f"{path}/{function}")[0]
        if rotary.magnitude != 1.0:
            magnitude = graph.constant(np.array(rotary.magnitude, np.float32), f"{path}/magnitude")
            table = graph.node("Mul", [table, magnitude], f"{path}/{function}/Mul")[0]
        if context.dtype.float16:
            table = graph.node("Cast", [table], f"{path}/{function}/Cast", to=TensorProto.FLOAT16)[0]
        tables.append(table)
    return tables[0], tables[1]
