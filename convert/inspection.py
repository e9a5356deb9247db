"""Answers what a model directory holds: variants, sizes, operators and the memory that a run will need."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from convert import manifest
from convert.errors import BadModelDirectory

DEFAULT_CONTEXT_LENGTH = 2048
PREFILL_TOKENS = 128
"""Tokens of a prompt that are taken to run at once; the browser's prediction takes the same."""


@dataclass(frozen=True)
class VariantReport:
    """One variant.

    ``memory_bytes`` is one copy of the weights, the KV cache of ``context_length`` tokens and the activations of a
    prompt; what a runtime holds besides (its own code, copies while it loads) comes on top.
    """

    dtype: str
    block_size: int | None
    lossless_import: bool
    imports: dict[str, int]
    download_bytes: int
    weight_bytes: int
    files: int
    operators: dict[str, int]
    macs_per_token: int
    context_length: int
    memory_bytes: int


@dataclass(frozen=True)
class InspectionReport:
    """The model and all its variants."""

    id: str
    name: str
    family: str
    task: str
    parameters: int
    license: str
    context_length: int
    source: dict[str, str]
    revision: str
    variants: list[VariantReport]


def inspect_model(model_dir: Path, *, context_length: int | None = None) -> InspectionReport:
    """Read the manifest and the graphs (not the weights) of ``model_dir``.

    Args:
        context_length: tokens of the memory estimate; the model's own limit, at most 2048, when absent.

    Raises:
        BadModelDirectory: the manifest or a graph is missing or damaged.
    """
    content = manifest.load(model_dir)
    tokens = context_length or min(content.model.context_length, DEFAULT_CONTEXT_LENGTH)
    return InspectionReport(
        id=content.model.id,
        name=content.model.name,
        family=content.model.family,
        task=content.model.task,
        parameters=content.model.parameters,
        license=content.model.license,
        context_length=content.model.context_length,
        source=dict(content.source),
        revision=manifest.revision(model_dir),
        variants=[_variant(model_dir, variant, tokens) for variant in content.variants],
    )


def _variant(model_dir: Path, variant: manifest.Variant, tokens: int) -> VariantReport:
    cost = variant.cost
    nodes = (node for each in variant.graphs for node in walk(load_graph(model_dir / each.graph)))
    return VariantReport(
        dtype=str(variant.dtype),
        block_size=variant.block_size,
        lossless_import=variant.lossless_import,
        imports=dict(variant.imports),
        download_bytes=variant.download_bytes,
        weight_bytes=variant.weight_bytes,
        files=len(variant.files),
        operators=dict(sorted(Counter(node.op_type for node in nodes).items())),
        macs_per_token=sum(item.macs for name, item in cost.per_token.items() if not name.startswith("attention")),
        context_length=tokens,
        memory_bytes=(
            variant.weight_bytes
            + tokens * cost.kv_bytes_per_token
            + min(tokens, PREFILL_TOKENS) * cost.activation_bytes_per_token
        ),
    )


def load_graph(path: Path) -> onnx.GraphProto:
    """The graph of an ``.onnx`` file without its external data; raises BadModelDirectory when it cannot be read."""
    try:
        return onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf's errors have no common public base
        raise BadModelDirectory(f"{path}: not a readable ONNX graph ({error}); convert the model again") from error


def walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of ``graph``, those of its subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from walk(inner)
