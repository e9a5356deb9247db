"""Owns a variant that is built but not yet written: its graphs, what they weigh, and the formats of its matrices."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from convert.checkpoint.checkpoint import Checkpoint
from convert.dtypes import Dtype
from convert.families.blocks.context import BuildContext, Matrix
from convert.families.family import Family, ModelFacts
from convert.graph.builder import GraphBuilder
from convert.graph.serialize import to_bytes, to_model
from convert.quantize.compensations import Calibrated
from convert.quantize.recipe import Formats, Method
from convert.shards import lay_out


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
    def shared(self) -> frozenset[str]:
        """Names of the initializers that every graph has; with files to themselves they are downloaded once."""
        if len(self.graphs) == 1:
            return frozenset()
        sizes = [{item.name: item.nbytes for item in each.context.graph.initializers.values()} for each in self.graphs]
        return frozenset(name for name, size in sizes[0].items() if all(other.get(name) == size for other in sizes))

    @property
    def written_bytes(self) -> int:
        """Size of all initializers."""
        return sum(item.nbytes for each in self.graphs for item in each.context.graph.initializers.values())

    @property
    def weight_bytes(self) -> int:
        """The same, what graphs share counted once."""
        shared = self.shared
        twice = (item for each in self.graphs[1:] for item in each.context.graph.initializers.values())
        return self.written_bytes - sum(item.nbytes for item in twice if item.name in shared)

    @property
    def largest_tensor_bytes(self) -> int:
        """Size of the largest weight of any graph, however many parts it is stored in."""
        return max(each.context.graph.largest_tensor_bytes for each in self.graphs)

    @property
    def methods(self) -> set[Method]:
        """What rounds its matrices."""
        return {item.kind.method for item in self.matrices.values() if item.kind.bits is not None}

    @property
    def matrices(self) -> dict[str, Matrix]:
        """Of all graphs, by tensor."""
        return {name: item for each in self.graphs for name, item in each.context.matrices.items()}

    def compensate(self, calibration: Calibrated | None) -> None:
        """Let the matrices that GPTQ rounds know their inputs, before they are written."""
        for each in self.graphs:
            each.context.compensations.source = calibration

    def download_bytes(self) -> int:
        """What a client will fetch when this is the only variant, to the byte."""
        checkpoint = self.last.context.checkpoint
        total, counts, shared = 0, {}, self.shared
        for each in self.graphs:
            initializers = each.context.graph.initializers.values()
            locations, shard_bytes = lay_out(initializers, each.stem, first=shared)
            total += shard_bytes + len(to_bytes(to_model(each.context.graph, locations)))
            if each is not self.graphs[0]:
                total -= lay_out((item for item in initializers if item.name in shared), each.stem)[1]
            counts[f"{each.stem}.onnx"] = len({name for name, _, _ in locations.values()})
        small = {**checkpoint.files, "config.json": config_bytes(checkpoint.config, counts)}
        return total + sum(map(len, small.values()))

    @property
    def block_size(self) -> int | None:
        """That of most weights inside the layers; None for variants of floats."""
        weights = Counter[int]()
        for item in self.matrices.values():
            if item.kind.bits is not None and not item.direct:
                weights[item.kind.block_size] += prod(item.tensor.shape)
        return max(weights, key=lambda size: (weights[size], -size), default=None)

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
            compact=family.compact and dtype.linear_bits is not None,
        )
        graphs.append(BuiltGraph(stem, context, build(context, task)))
    if dtype.linear_bits is not None:
        formats.recipe.check_used(name for each in graphs for name in each.context.matrices)
    return Plan(dtype, graphs)


def config_bytes(config: Mapping[str, Any], shard_counts: Mapping[str, int]) -> bytes:
    """``config.json`` with what Transformers.js needs to know about external data."""
    merged = {key: value for key, value in config.items() if key != "quantization_config"}
    merged["transformers.js_config"] = {"use_external_data_format": dict(shard_counts)}
    return (json.dumps(merged, indent=2, sort_keys=True) + "\n").encode()
