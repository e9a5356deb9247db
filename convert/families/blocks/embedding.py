"""Owns embedding tables: gathered as floats or as 8-bit blocks, and the output head that may share the table."""

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import LazyTensor
from convert.dtypes import EMBEDDING_BITS
from convert.families.blocks.context import BuildContext
from convert.families.blocks.linear import LinearWeight, NbitsHandle, nbits_linear
from convert.quantize.dense import dense_parts


class EmbeddingTable:
    """A table [rows, width] that ``lookup`` gathers from and ``project`` multiplies by (a tied output head).

    Quantized variants keep it at 8 bits: at 4 bits it costs far more quality than bytes. The gathered rows are
    dequantized by plain operators, because the WebAssembly build of ONNX Runtime that Transformers.js 4.3 loads
    has no kernel for GatherBlockQuantized.
    """

    def __init__(self, context: BuildContext, tensor: LazyTensor) -> None:
        self.context = context
        self.tensor = tensor
        self.rows, self.width = tensor.shape
        self.handle: NbitsHandle | None = None
        self.dense = ""
        if context.dtype.linear_bits is None:
            parts = dense_parts(tensor, float16=context.dtype.float16)
            self.dense = context.graph.initializer_parts(parts, tensor.name)
            self.row_bytes = sum(part.nbytes for part in parts) // self.rows
        else:
            self.handle = NbitsHandle(context, tensor, EMBEDDING_BITS)
            self.row_bytes = self.handle.weight.nbytes // self.rows

    def lookup(self, ids: str, path: str) -> str:
        """Rows of the table: ids [batch, sequence] -> [batch, sequence, width]."""
        graph = self.context.graph
        graph.charge("embedding", read_bytes=self.row_bytes)
        if self.handle is None:
            return graph.node("Gather", [self.dense, ids], f"{path}/Gather", axis=0)[0]
        weight = self.handle.weight
        codes = graph.node("Gather", [self.handle.codes, ids], f"{path}/codes/Gather", axis=0)[0]
        codes = graph.node("Cast", [codes], f"{path}/codes/Cast", to=self.context.float_type)[0]
        zero = graph.constant(np.array(1 << (weight.bits - 1), self.context.float_numpy), "/constants/zero_point_8bit")
        centered = graph.node("Sub", [codes, zero], f"{path}/codes/Sub")[0]
        # From the float32 scales that the head reads as well: GPUs without shader-f16 cannot gather float16.
        scale = graph.node("Gather", [self.handle.scale, ids], f"{path}/scale/Gather", axis=0)[0]
        last = graph.constant([-1], "/constants/axis_last")
        scale = graph.node("Unsqueeze", [scale, last], f"{path}/scale/Unsqueeze")[0]
        blocks = graph.node("Mul", [centered, scale], f"{path}/Mul")[0]
        width = weight.blocks * weight.block_size
        flat = graph.constant([0, 0, width], f"/constants/flatten_{width}")
        rows = graph.node("Reshape", [blocks, flat], f"{path}/Reshape")[0]
        if width == self.width:
            return rows
        bounds = [graph.constant([value], f"/constants/slice_{value}") for value in (0, self.width, 2)]
        return graph.node("Slice", [rows, *bounds], f"{path}/Slice")[0]

    def project(self, value: str, path: str) -> str:
        """``value [batch, sequence, width] @ table.T`` -> [batch, sequence, rows]."""
        if self.handle is not None:
            return nbits_linear(self.context, value, self.handle, path)
        graph = self.context.graph
        graph.charge("linear_float", read_bytes=self.row_bytes * self.rows, macs=self.rows * self.width)
        flat = graph.constant([-1, self.width], f"/constants/flat_{self.width}")
        rows = graph.node("Reshape", [value, flat], f"{path}/flatten/Reshape")[0]
        product = graph.node("Gemm", [rows, self.dense], f"{path}/Gemm", transB=1)[0]
        lead = graph.node("Shape", [value], f"{path}/shape/Shape", start=0, end=2)[0]
        size = graph.constant([self.rows], f"/constants/size_{self.rows}")
        shape = graph.node("Concat", [lead, size], f"{path}/shape/Concat", axis=0)[0]
        return graph.node("Reshape", [product, shape], f"{path}/Reshape")[0]


def output_head(context: BuildContext, value: str, tensor: LazyTensor, path: str) -> str:
    """A head with a table of its own; like the embedding it keeps 8 bits in quantized variants. Logits are float32."""
    return logits_float32(context, LinearWeight(context, tensor, EMBEDDING_BITS).multiply(value, path), path)


def logits_float32(context: BuildContext, logits: str, path: str) -> str:
    """Logits leave the graph as float32, whatever the activations are."""
    if not context.dtype.float16:
        return logits
    return context.graph.node("Cast", [logits], f"{path}/Cast", to=TensorProto.FLOAT)[0]
