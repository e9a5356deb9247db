"""Owns the graph under construction: nodes with path-like names, initializers in order of first use."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from convert.graph.initializer import Initializer

MICROSOFT = "com.microsoft"
OPSET = 21
"""Of ONNX's own operators."""
# An initializer above this is cut along its first axis and joined in the graph, so that every shard stays small.
PART_LIMIT_BYTES = 64 << 20


@dataclass
class GraphBuilder:
    """Collects the parts of one ONNX graph.

    Values are named after the node that makes them (``/model/layers.0/attn/q_proj/MatMul/output_0``), initializers
    after the checkpoint's tensor.
    """

    name: str
    opset: int = OPSET
    nodes: list[NodeProto] = field(default_factory=list)
    inputs: list[ValueInfoProto] = field(default_factory=list)
    outputs: list[ValueInfoProto] = field(default_factory=list)
    initializers: dict[str, Initializer] = field(default_factory=dict)
    constants: dict[str, TensorProto] = field(default_factory=dict)

    @property
    def largest_tensor_bytes(self) -> int:
        """Size of the largest weight, all of its parts: a runtime joins them into one buffer when it loads them."""
        sizes = {name: item.nbytes for name, item in self.initializers.items()}
        joined = (
            sum(sizes[name] for name in node.input)
            for node in self.nodes
            if node.op_type == "Concat" and all(name in sizes for name in node.input)
        )
        return max((*sizes.values(), *joined), default=0)

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        path: str,
        *,
        outputs: int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Append a node called ``path`` and return the names of its outputs."""
        names = [f"{path}/output_{index}" for index in range(outputs)]
        self.append(op_type, inputs, names, path, domain=domain, **attributes)
        return names

    def append(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        path: str,
        *,
        domain: str = "",
        **attributes: Any,
    ) -> None:
        """Append a node whose output names are given ("" leaves an optional output out)."""
        self.nodes.append(helper.make_node(op_type, inputs, outputs, name=path, domain=domain, **attributes))

    def input(self, name: str, onnx_dtype: int, shape: Sequence[int | str]) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, onnx_dtype, shape))
        return name

    def output(self, name: str, onnx_dtype: int, shape: Sequence[int | str]) -> str:
        """Declare a graph output."""
        self.outputs.append(helper.make_tensor_value_info(name, onnx_dtype, shape))
        return name

    def constant(self, value: NDArray[np.generic] | Sequence[int] | int, name: str) -> str:
        """Add a small constant that is kept inside the ``.onnx`` file; integers become int64."""
        if name not in self.constants:
            array = value if isinstance(value, np.ndarray) else np.asarray(value, np.int64)
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def initializer(self, initializer: Initializer) -> str:
        """Add an initializer that is written as external data."""
        if initializer.name in self.initializers:
            raise ValueError(f"initializer {initializer.name} was added twice")
        self.initializers[initializer.name] = initializer
        return initializer.name

    def initializer_parts(self, parts: Sequence[Initializer], name: str) -> str:
        """Add the consecutive row ranges of one tensor; several are joined by a Concat of constants."""
        names = [self.initializer(part) for part in parts]
        if len(names) == 1:
            return names[0]
        return self.node("Concat", names, f"/constants/{name}/Concat", axis=0)[0]
