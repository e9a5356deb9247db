"""Owns a variant that is built but not yet written: its graphs, what they weigh, and the formats of its matrices."""

from collections.abc import Sequence
from dataclasses import dataclass

from convert.checkpoint.checkpoint import Checkpoint
from convert.dtypes import Dtype
from convert.families.blocks.context import BuildContext
from convert.families.family import Family, ModelFacts
from convert.graph.builder import GraphBuilder
from convert.quantize.compensations import Calibrated
from convert.quantize.recipe import Formats, Method


@dataclass(frozen=True)
class BuiltGraph:
    """One graph of a variant; ``stem`` is its file's name without the ending."""

    stem: str
    context: BuildContext
    facts: ModelFacts


@dataclass(frozen=True)
class Plan:
    """One variant, built but not yet written; its last graph is the one that answers."""

    dtype: Dtype
    graphs: Sequence[BuiltGraph]

    @property
    def last(self) -> BuiltGraph:
        """The variant's own graph; an encoder stands before it."""
        return self.graphs[-1]

    @property
    def weight_bytes(self) -> int:
        """Size of all initializers."""
        return sum(item.nbytes for each in self.graphs for item in each.context.graph.initializers.values())

    @property
    def methods(self) -> set[Method]:
        """What rounds its matrices."""
        matrices = (item for each in self.graphs for item in each.context.matrices.values())
        return {item.kind.method for item in matrices if item.kind.bits is not None}

    def compensate(self, calibration: Calibrated) -> None:
        """Let the matrices that GPTQ rounds know their inputs, before they are written."""
        for each in self.graphs:
            each.context.compensations.source = calibration

    @property
    def parameters(self) -> int:
        """Of all graphs, those that several use counted once."""
        used = {name: count for each in self.graphs for name, count in each.context.used.items()}
        return sum(used.values())


def plan_variant(family: Family, checkpoint: Checkpoint, task: str, dtype: Dtype, formats: Formats) -> Plan:
    """Build the graphs of ``dtype``; reads no weights except to compare those that must be equal.

    Raises:
        FeatherweightError: the checkpoint does not fit its config, or a rule of the recipe fits no matrix.
    """
    graphs = []
    for name, build in family.graphs.items():
        stem = f"{name}{dtype.suffix}"
        context = BuildContext(
            GraphBuilder(stem),
            checkpoint,
            dtype,
            formats.block_size,
            formats.embedding_bits,
            formats.method,
            formats.recipe,
        )
        graphs.append(BuiltGraph(stem, context, build(context, task)))
    if dtype.linear_bits is not None:
        formats.recipe.check_used(name for each in graphs for name in each.context.matrices)
    return Plan(dtype, graphs)
