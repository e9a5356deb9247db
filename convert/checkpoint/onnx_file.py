"""Owns an ONNX file that another exporter wrote: its nodes and small constants, and its weights as lazy tensors."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from convert.checkpoint.tensor import LazyTensor
from convert.checkpoint.untrusted import contained_path, quote
from convert.errors import BadCheckpoint

SMALL = 64
"""Floats up to this many stay in the graph; all others are weights."""


@dataclass(frozen=True)
class OnnxFile:
    """A float32 graph; ``ranks`` are those of the values for which they can be inferred."""

    inputs: tuple[ValueInfoProto, ...]
    outputs: tuple[ValueInfoProto, ...]
    nodes: tuple[NodeProto, ...]
    opset: int
    constants: Mapping[str, TensorProto]
    weights: Mapping[str, LazyTensor]
    ranks: Mapping[str, int]


def open_onnx(path: Path) -> OnnxFile:
    """Read the graph at ``path``; weights in files beside it stay there.

    Raises:
        BadCheckpoint: it is no ONNX graph, or the files beside it do not hold its weights.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        ranks = dict(_ranks(onnx.shape_inference.infer_shapes(model).graph))
        opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    except Exception as error:  # protobuf's and ONNX's errors have no common base
        said = quote((str(error).splitlines() or ["it is empty or cut"])[0])
        raise BadCheckpoint(f"{path}: is no ONNX graph that can be read ({said}); export the model again") from error
    graph = model.graph
    big = {item.name for item in graph.initializer if _is_weight(item)}
    known = {item.name for item in graph.initializer}
    return OnnxFile(
        inputs=tuple(item for item in graph.input if item.name not in known),
        outputs=tuple(graph.output),
        nodes=tuple(graph.node),
        opset=opset,
        constants={item.name: item for item in graph.initializer if item.name not in big},
        weights={item.name: _weight(path, item) for item in graph.initializer if item.name in big},
        ranks=ranks,
    )


def _is_weight(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == TensorProto.FLOAT and tensor.dims and math.prod(tensor.dims) > SMALL)


def _ranks(graph: GraphProto) -> Iterator[tuple[str, int]]:
    for item in (*graph.input, *graph.value_info):
        if item.type.tensor_type.HasField("shape"):
            yield item.name, len(item.type.tensor_type.shape.dim)


def _weight(path: Path, tensor: TensorProto) -> LazyTensor:
    shape = tuple(tensor.dims)
    if tensor.data_location != TensorProto.EXTERNAL:
        return ArrayTensor(tensor.name, shape, "F32", numpy_helper.to_array(tensor))
    entry = {item.key: item.value for item in tensor.external_data}
    file = contained_path(path.parent, entry.get("location", ""))
    try:
        values = np.memmap(file, "<f4", "r", offset=int(entry.get("offset", 0)), shape=shape)
    except (OSError, ValueError, OverflowError) as error:  # it is missing, a folder, too short
        raise BadCheckpoint(f"{file}: does not hold the weight {quote(tensor.name)}; export the model again") from error
    return ArrayTensor(tensor.name, shape, "F32", values)


@dataclass(frozen=True, eq=False)
class ArrayTensor(LazyTensor):
    """A float32 array in memory or mapped."""

    values: NDArray[np.float32]

    def read_rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """A copy of the rows."""
        self._check(start, stop)
        return np.array(self.values[start:stop], np.float32, order="C")
