"""Owns matrix multiplication by a weight: MatMul for floats, MatMulNBits for blocks, exact for GGUF's affine blocks."""

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import LazyTensor
from convert.families.blocks.context import BuildContext, Product
from convert.families.blocks.norm import vector
from convert.graph.builder import MICROSOFT
from convert.quantize.dense import dense_parts
from convert.quantize.nbits import NbitsWeight
from convert.quantize.recipe import TensorFormat


def projection(
    context: BuildContext, value: str, name: str, out_width: int, in_width: int, path: str, *, bias: bool = False
) -> str:
    """``value [..., in]`` times the tensor ``name``.weight [out, in], plus ``name``.bias [out] -> [..., out].

    value -- MatMulNBits | MatMul [-- Add(bias)]
    """
    product = LinearWeight(context, context.tensor(f"{name}.weight", out_width, in_width)).multiply(value, path)
    if not bias:
        return product
    return context.graph.node("Add", [product, vector(context, f"{name}.bias", out_width)], f"{path}/Add")[0]


class LinearWeight:
    """One matrix [out, in] of the graph, stored once however often it is multiplied by.

    ``bits`` of quantized variants are the variant's own unless they are given.
    """

    def __init__(self, context: BuildContext, tensor: LazyTensor, bits: int | None = None) -> None:
        self.context = context
        self.tensor = tensor
        usual = context.dtype.linear_bits
        kind = context.format_of(tensor, usual and (bits or usual), direct=bits is not None)
        self._weight = DenseHandle(context, tensor) if kind.bits is None else NbitsHandle(context, tensor, kind)

    def multiply(self, value: str, path: str) -> str:
        """``value [..., in]`` -> [..., out]."""
        self.context.products.setdefault(self.tensor.name, Product(self.tensor.shape[1])).inputs.append(value)
        if isinstance(self._weight, DenseHandle):
            return self._weight.multiply(value, path)
        return nbits_linear(self.context, value, self._weight, path)


class Projection:
    """A linear module: the weight [out, in] and the bias [out] of a checkpoint's ``name``."""

    def __init__(
        self, context: BuildContext, name: str, rows: int, width: int, *, bias: str = "", bits: int | None = None
    ) -> None:
        self.context = context
        self.weight = LinearWeight(context, context.tensor(f"{name}.weight", rows, width), bits)
        self.bias = vector(context, bias or f"{name}.bias", rows)

    def multiply(self, value: str, path: str) -> str:
        """The product without the bias, for operators that add it themselves."""
        return self.weight.multiply(value, path)

    def apply(self, value: str, path: str) -> str:
        """``value [..., in] @ weight.T + bias`` -> [..., out]."""
        return self.context.graph.node("Add", [self.multiply(value, path), self.bias], f"{path}/Add")[0]


class DenseHandle:
    """A float matrix, stored as MatMul reads it: [in, out]."""

    def __init__(self, context: BuildContext, tensor: LazyTensor) -> None:
        self.graph = context.graph
        parts = dense_parts(tensor, float16=context.dtype.float16, transposed=True)
        self.name = self.graph.initializer_parts(parts, tensor.name)
        self.rows, self.width = tensor.shape

    def multiply(self, value: str, path: str) -> str:
        """``value [..., in]`` -> [..., out]."""
        return self.graph.node("MatMul", [value, self.name], f"{path}/MatMul")[0]


class NbitsHandle:
    """The initializers of one block-quantized matrix, shared by all nodes that read it (embedding and tied head)."""

    def __init__(self, context: BuildContext, tensor: LazyTensor, kind: TensorFormat) -> None:
        graph = context.graph
        self.weight = NbitsWeight(tensor, kind, context.compensations)
        context.imports[self.weight.imported] += 1
        self.codes = graph.initializer_parts(self.weight.codes(), f"{tensor.name}_q{kind.bits}")
        self.scale16 = graph.initializer(self.weight.scale())
        self.offset16 = graph.initializer(self.weight.offset()) if self.weight.affine else None
        self.scale = context.as_float(self.scale16)


def nbits_linear(context: BuildContext, value: str, handle: NbitsHandle, path: str) -> str:
    """MatMulNBits; affine blocks add ``block_sum(value) @ correction``.

    With ``w = d * q + m`` the operator's symmetric reading is ``d * (q - 8)``, so that
    ``w = d * (q - 8) + (m + 8 * d)`` and the second part needs only the sum of each block of activations.

        value --+--------------------- MatMulNBits(q, d) --+
                +-- block sums [.., blocks] -- MatMul(c) --+-- Add
    """
    graph, weight = context.graph, handle.weight
    result = graph.node(
        "MatMulNBits",
        [value, handle.codes, handle.scale],
        f"{path}/MatMulNBits",
        domain=MICROSOFT,
        K=weight.width,
        N=weight.rows,
        bits=weight.bits,
        block_size=weight.block_size,
    )[0]
    if handle.offset16 is None:
        return result
    sums = block_sums(context, value, weight.block_size, weight.blocks)
    correction = graph.node("MatMul", [sums, _correction(context, handle)], f"{path}/correction/MatMul")[0]
    return graph.node("Add", [result, correction], f"{path}/correction/Add")[0]


def _correction(context: BuildContext, handle: NbitsHandle) -> str:
    """``(m + 8 * d).T`` [blocks, out]; computed in float32, because float16 would round it."""
    graph = context.graph
    assert handle.offset16 is not None
    path = f"/constants/{handle.weight.tensor.name}_correction"
    scale = graph.node("Cast", [handle.scale16], f"{path}/scale/Cast", to=TensorProto.FLOAT)[0]
    offset = graph.node("Cast", [handle.offset16], f"{path}/offset/Cast", to=TensorProto.FLOAT)[0]
    scaled = graph.node("Mul", [scale, _zero_point(context)], f"{path}/Mul")[0]
    total = graph.node("Add", [scaled, offset], f"{path}/Add")[0]
    if context.dtype.float16:
        total = graph.node("Cast", [total], f"{path}/Cast", to=TensorProto.FLOAT16)[0]
    return graph.node("Transpose", [total], f"{path}/Transpose", perm=[1, 0])[0]


def _zero_point(context: BuildContext) -> str:
    return context.graph.constant(np.array(8.0, np.float32), "/constants/zero_point")


def block_sums(context: BuildContext, value: str, block_size: int, blocks: int) -> str:
    """Sum of each block of the last axis, ``[batch, sequence, blocks]``; shared by projections of the same value."""
    key = (value, block_size)
    if key not in context.block_sums:
        graph = context.graph
        path = f"{value.removesuffix('/output_0')}/block_sums"
        shape = graph.constant([0, 0, blocks, block_size], f"/constants/blocks_{blocks}x{block_size}")
        grouped = graph.node("Reshape", [value, shape], f"{path}/Reshape")[0]
        axis = graph.constant([3], "/constants/axis_3")
        context.block_sums[key] = graph.node("ReduceSum", [grouped, axis], f"{path}/ReduceSum", keepdims=0)[0]
    return context.block_sums[key]
