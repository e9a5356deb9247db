"""Owns what is said of a graph's cost."""

from collections.abc import Mapping
from dataclasses import dataclass

FLOAT_BYTES = 4
"""Activations are float32."""


@dataclass(frozen=True)
class OperatorCost:
    """Bytes moved and multiply-adds done."""

    bytes: int = 0
    macs: int = 0

    def __add__(self, other: "OperatorCost") -> "OperatorCost":
        return OperatorCost(self.bytes + other.bytes, self.macs + other.macs)


@dataclass(frozen=True)
class GraphCost:
    """Cost by operator class, and the steps of the engine's plan.

    ``text`` is what a decoder does once for each text of its encoder, for every token of that: its keys and values.
    """

    classes: Mapping[str, OperatorCost]
    steps: int
    text: "GraphCost | None" = None

    def __add__(self, other: "GraphCost") -> "GraphCost":
        names = sorted({*self.classes, *other.classes})
        none = OperatorCost()
        return GraphCost(
            {name: self.classes.get(name, none) + other.classes.get(name, none) for name in names},
            self.steps + other.steps,
        )
