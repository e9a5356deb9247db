"""Owns the format in which ONNX Runtime is fastest on processors: dynamically quantized int8, made of an fp32 graph."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def write_dynamic_int8(fp32_graph: Path, target: Path) -> None:
    """Quantize ``fp32_graph`` (with its external data) as ``quantize_dynamic`` does by default, into one file.

    Our graphs join large tables by ``Concat`` and have the tied head as ``Gemm``: both are first brought into the form
    that the quantizer knows, so that the head is int8 too.
    """
    model = onnx.load(fp32_graph)
    _join_constants(model.graph)
    _head_as_matmul(model.graph)
    plain = target.with_suffix(".fp32.onnx")
    plain_data = plain.with_suffix(".data")
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, plain, save_as_external_data=True, location=plain_data.name)
    try:
        # Shape inference stops at the operators of ONNX Runtime's own domain: the default type goes on behind them.
        options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(plain, target, per_channel=True, weight_type=QuantType.QUInt8, extra_options=options)
    finally:
        plain.unlink(missing_ok=True)
        plain_data.unlink(missing_ok=True)


def _join_constants(graph: onnx.GraphProto) -> None:
    constants = {item.name: item for item in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Concat"]:
        if not all(name in constants for name in node.input):
            continue
        axis = next(item.i for item in node.attribute if item.name == "axis")
        joined = np.concatenate([numpy_helper.to_array(constants[name]) for name in node.input], axis=axis)
        graph.initializer.append(numpy_helper.from_array(joined, node.output[0]))
        graph.node.remove(node)
        for name in node.input:
            graph.initializer.remove(constants.pop(name))


def _head_as_matmul(graph: onnx.GraphProto) -> None:
    constants = {item.name: item for item in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gemm" and len(node.input) == 2]:
        table = constants[node.input[1]]
        name = f"{table.name}_transposed"
        transposed = np.ascontiguousarray(numpy_helper.to_array(table).T)
        graph.initializer.append(numpy_helper.from_array(transposed, name))
        node.op_type = "MatMul"
        node.input[1] = name
        del node.attribute[:]
