"""Builds the graph of an architecture without a family, from what another exporter made of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, ValueInfoProto, helper

from convert.checkpoint.onnx_file import OnnxFile, open_onnx
from convert.checkpoint.tensor import LazyTensor, transpose
from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.families.blocks.decoder_inputs import position_row
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.linear import LinearWeight
from convert.families.family import Family, ModelFacts
from convert.kv_cache import KvCache
from convert.quantize.dense import dense_parts

TASKS = (
    "feature-extraction",
    "text-generation",
    "text-classification",
    "token-classification",
    "question-answering",
    "fill-mask",
)
_PAST, _POSITIONS = "past_key_values.", "position_ids"
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")


def exported_family(path: Path) -> Family:
    """The family of one model, whose graph is the file at ``path``."""
    return Family(tasks=TASKS, default_dtypes=(Dtype.Q8,), build=partial(_build, path))


@dataclass
class _Import:
    """The graph that is taken over, and what of it was replaced."""

    context: BuildContext
    file: OnnxFile
    views: dict[str, NodeProto] = field(default_factory=dict)
    """Values that are a weight or its transpose, by the nodes that make them; copied only where they are read."""
    tables: dict[str, EmbeddingTable] = field(default_factory=dict)
    matrices: dict[tuple[str, bool], LinearWeight] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    """Weights and views that some node reads as floats."""
    widest: int = 0
    """Largest number of outputs of a linear layer."""

    def weight(self, name: str) -> LazyTensor:
        """The weight ``name``, counted as used."""
        tensor = self.file.weights[name]
        self.context.used[name] = int(np.prod(tensor.shape))
        return tensor

    def matrix(self, name: str) -> tuple[str, bool] | None:
        """The matrix that the value ``name`` is, and whether it is transposed; None when it is none."""
        turned = False
        while name in self.views:
            turned ^= self.views[name].op_type == "Transpose"
            name = self.views[name].input[0]
        tensor = self.file.weights.get(name)
        return (name, turned) if tensor and len(tensor.shape) == 2 else None


def _build(path: Path, context: BuildContext, task: str) -> ModelFacts:
    """Take the graph over; quantized variants read their linear layers and embeddings from blocks.

    Inputs and outputs keep their names, except position_ids: they follow from the mask, as in our own decoders.
    """
    if context.dtype.float16:
        raise UnsupportedModel(
            f"{context.dtype} is not supported for architectures without a family; choose fp32, q8 or q4"
        )
    file = open_onnx(path)
    graph = context.graph
    graph.opset = file.opset
    graph.inputs += [item for item in file.inputs if item.name != _POSITIONS]
    graph.outputs += file.outputs
    taken = _Import(context, file)
    if any(item.name == _POSITIONS for item in file.inputs):
        _positions(context)
    for node in file.nodes:
        if not _replaced(taken, node):
            _copy(taken, node)
    config = context.checkpoint.config
    hidden = int(config.get("hidden_size") or config.get("n_embd") or config.get("dim") or taken.widest)
    return ModelFacts(
        context_length=next((int(config[key]) for key in _LENGTHS if config.get(key)), 2048),
        vocab_size=int(config["vocab_size"]),
        activation_width=6 * hidden + 2 * taken.widest,
        kv_cache=_kv_cache(file.inputs),
        labels=_labels(config) if task.endswith("-classification") else None,
    )


def _positions(context: BuildContext) -> None:
    """``position_ids`` [batch, sequence] from the attention mask."""
    graph = context.graph
    row = position_row(context, "input_ids", "attention_mask")
    shape = graph.node("Shape", ["input_ids"], "/model/positions/Shape")[0]
    graph.append("Expand", [row, shape], [_POSITIONS], "/model/positions/Expand")


def _replaced(taken: _Import, node: NodeProto) -> bool:
    """Whether ``node`` multiplies by a weight, or looks up its rows, and was written anew for a quantized variant."""
    context, name = taken.context, node.name or node.output[0]
    if context.dtype.linear_bits is None:
        return False
    if node.op_type in ("Identity", "Transpose") and taken.matrix(node.input[0]):
        taken.views[node.output[0]] = node
        return True
    if node.op_type == "Gather":
        found = taken.matrix(node.input[0])
        if not found or found[1] or _attribute(node, "axis", 0) or taken.file.ranks.get(node.input[1]) != 2:
            return False
        result = _table(taken, found[0]).lookup(node.input[1], name)
    elif node.op_type == "MatMul" or (node.op_type == "Gemm" and _is_plain_gemm(node)):
        found = taken.matrix(node.input[1])
        if not found:
            return False
        turned = found[1] ^ bool(_attribute(node, "transB", 0))
        result = _multiply(taken, node, found[0], turned, name)
        if len(node.input) > 2:
            _keep(taken, node.input[2])
            result = context.graph.node("Add", [result, node.input[2]], f"{name}/Add")[0]
    else:
        return False
    context.graph.append("Identity", [result], node.output, f"{name}/Identity")
    return True


def _multiply(taken: _Import, node: NodeProto, name: str, turned: bool, path: str) -> str:
    """The product with the weight ``name``, [in, out], or [out, in] when ``turned``, which a table may be."""
    if turned and name in taken.tables:
        return taken.tables[name].project(node.input[0], path)
    if (name, turned) not in taken.matrices:
        tensor = taken.weight(name)
        tensor = (tensor if turned else transpose(tensor)).renamed(_readable(name, path))
        taken.widest = max(taken.widest, tensor.rows)
        taken.matrices[name, turned] = LinearWeight(taken.context, tensor)
    return taken.matrices[name, turned].multiply(node.input[0], path)


def _table(taken: _Import, name: str) -> EmbeddingTable:
    if name not in taken.tables:
        taken.tables[name] = EmbeddingTable(taken.context, taken.weight(name))
    return taken.tables[name]


def _readable(name: str, path: str) -> str:
    """The name of a weight; exporters number those that they transposed, which are named after their node then."""
    return f"{path.strip('/').rpartition('/')[0].replace('/', '.')}.weight" if "::" in name else name


def _copy(taken: _Import, node: NodeProto) -> None:
    """The node as it is, with the weights that it reads as floats."""
    for name in _names(node):
        _keep(taken, name)
    taken.context.graph.nodes.append(node)


def _keep(taken: _Import, name: str) -> None:
    """The constant, weight or view ``name`` under its own name, if it is one."""
    graph = taken.context.graph
    if name in taken.views and name not in taken.kept:
        taken.kept.add(name)
        _copy(taken, taken.views[name])
    elif name in taken.file.constants:
        graph.constants.setdefault(name, taken.file.constants[name])
    elif name in taken.file.weights and name not in taken.kept:
        taken.kept.add(name)
        stored = graph.initializer_parts(dense_parts(taken.weight(name), float16=False), name)
        if stored != name:
            graph.append("Identity", [stored], [name], f"/constants/{name}/Identity")


def _names(node: NodeProto) -> Iterator[str]:
    """Values that ``node`` reads, those of the graphs inside it too."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _names(inner)


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _is_plain_gemm(node: NodeProto) -> bool:
    return not _attribute(node, "transA", 0) and _attribute(node, "alpha", 1.0) == _attribute(node, "beta", 1.0) == 1.0


def _kv_cache(inputs: tuple[ValueInfoProto, ...]) -> KvCache | None:
    keys = [item for item in inputs if item.name.startswith(_PAST) and item.name.endswith(".key")]
    if not keys:
        return None
    dims = keys[0].type.tensor_type.shape.dim
    if len(dims) != 4 or not dims[1].dim_value or not dims[3].dim_value:
        raise UnsupportedModel("the exported graph keeps no keys [batch, heads, tokens, size]; choose another model")
    return KvCache(len(keys), dims[1].dim_value, dims[3].dim_value)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    labels = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    return tuple(str(labels[str(index)]) for index in range(len(labels)))
