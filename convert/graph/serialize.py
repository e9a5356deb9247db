"""Turns a finished graph into the ``.onnx`` file, the same bytes every time, with its tensors as external data."""

from collections.abc import Mapping

from onnx import ModelProto, StringStringEntryProto, TensorProto, helper

from convert import __version__
from convert.graph.builder import MICROSOFT, GraphBuilder

IR_VERSION = 10


def external_tensor(name: str, onnx_dtype: int, shape: tuple[int, ...], location: tuple[str, int, int]) -> TensorProto:
    """Reference ``length`` bytes at ``offset`` of a file beside the model (ONNX ExternalData.md)."""
    file_name, offset, length = location
    tensor = TensorProto(name=name, data_type=onnx_dtype, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", file_name), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.append(StringStringEntryProto(key=key, value=value))
    return tensor


def to_model(graph: GraphBuilder, locations: Mapping[str, tuple[str, int, int]]) -> ModelProto:
    """Return the model; ``locations`` maps each initializer to (file name, offset, length)."""
    external = [
        external_tensor(item.name, item.onnx_dtype, item.shape, locations[item.name])
        for item in graph.initializers.values()
    ]
    proto = helper.make_graph(
        graph.nodes, graph.name, graph.inputs, graph.outputs, [*graph.constants.values(), *external]
    )
    return helper.make_model(
        proto,
        ir_version=IR_VERSION,
        producer_name="featherweight",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", graph.opset), helper.make_opsetid(MICROSOFT, 1)],
    )


def to_bytes(model: ModelProto) -> bytes:
    """Serialize with map entries and fields in a fixed order."""
    return bytes(model.SerializeToString(deterministic=True))
