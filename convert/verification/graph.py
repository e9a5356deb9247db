"""Checks a variant's graph without running it: well-formed ONNX whose external data lies where it says."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from convert.manifest import Variant
from convert.verification.problem import Problem

_PACKED_BITS = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4}


def check_graph(model_dir: Path, variant: Variant) -> Iterator[Problem]:
    """Parse the graph, run ONNX's checker on it, and check every reference to external data."""
    path = model_dir / variant.graph
    try:
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
        yield Problem(variant.graph, f"is not sound ONNX: {' '.join(str(error).split())}")
        return
    yield from (Problem(variant.graph, problem) for problem in _check_external_data(model, path.parent, variant))


def operators(model: ModelProto) -> dict[str, int]:
    """How often each operator type occurs, subgraphs and functions included, most frequent first."""
    counts: dict[str, int] = defaultdict(int)
    for node in _nodes(model):
        counts[node.op_type] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _check_external_data(model: ModelProto, folder: Path, variant: Variant) -> Iterator[str]:
    shards = {PurePosixPath(shard).name: folder / PurePosixPath(shard).name for shard in variant.shards}
    ranges: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        facts = {item.key: item.value for item in tensor.external_data}
        location = facts.get("location", "")
        if location not in shards:
            yield f"tensor {tensor.name!r} refers to {location!r}, which is no shard of this variant"
            continue
        size_bytes = shards[location].stat().st_size
        try:
            offset = int(facts.get("offset", "0"))
            length = int(facts.get("length", str(size_bytes - offset)))
        except ValueError:
            yield f"tensor {tensor.name!r} has an offset or length that is no number"
            continue
        want = _size_bytes(tensor)
        if length != want:
            yield f"tensor {tensor.name!r} needs {want} bytes, but refers to {length}"
        if offset < 0 or length < 0 or offset + length > size_bytes:
            yield f"tensor {tensor.name!r} ends at byte {offset + length} of {location!r}, which has {size_bytes}"
            continue
        ranges[location].append((offset, offset + length, tensor.name))
    for location in shards:
        if not ranges[location]:
            yield f"no tensor refers to the shard {location!r}"
        yield from _overlaps(location, sorted(ranges[location]))


def _overlaps(location: str, ranges: Iterable[tuple[int, int, str]]) -> Iterator[str]:
    """``ranges`` are (begin, end, tensor), by begin."""
    last_end, last_name = 0, ""
    for begin, end, name in ranges:
        if begin < last_end:
            yield f"tensors {last_name!r} and {name!r} overlap in {location!r}"
        if end > last_end:
            last_end, last_name = end, name


def _size_bytes(tensor: TensorProto) -> int:
    """Length of the raw data of ``tensor``."""
    elements = prod(tensor.dims)
    bits = _PACKED_BITS.get(tensor.data_type) or 8 * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-elements * bits // 8)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    yield from _nodes_of(model.graph.node)
    for function in model.functions:
        yield from _nodes_of(function.node)


def _nodes_of(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in _subgraphs(node.attribute):
            yield from _nodes_of(graph.node)


def _subgraphs(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant of the model, wherever it stands."""
    yield from model.graph.initializer
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in _subgraphs(node.attribute):
            yield from graph.initializer
