"""Owns embedding tables: gathered as floats or as blocks, and the output head that may share the table."""

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import LazyTensor
from convert.families.blocks.context import BuildContext
from convert.families.blocks.linear import LinearWeight, NbitsHandle, nbits_linear
from convert.quantize.dense import dense_parts

NIBBLE_BITS = 4


class EmbeddingTable:
    """A table [rows, width] that ``lookup`` gathers from and ``project`` multiplies by (a tied output head).

    Quantized variants keep it at 8 bits unless 4 are asked for, which cost far more quality than bytes. The gathered
    rows are dequantized by plain operators, because the WebAssembly build of ONNX Runtime that Transformers.js 4.3
    loads has no kernel for GatherBlockQuantized. ``looked_up`` says that no head projects by the table.
    """

    def __init__(self, context: BuildContext, tensor: LazyTensor, *, looked_up: bool = False) -> None:
        self.context = context
        self.tensor = tensor
        self.rows, self.width = tensor.shape
        self.handle: NbitsHandle | None = None
        self.dense = ""
        bits = context.dtype.linear_bits and context.embedding_bits
        kind = context.format_of(tensor, bits, direct=True, looked_up=looked_up)
        if kind.bits is None:
            parts = dense_parts(tensor, float16=context.dtype.float16)
            self.dense = context.graph.initializer_parts(parts, tensor.name)
        else:
            self.handle = NbitsHandle(context, tensor, kind)

    def lookup(self, ids: str, path: str) -> str:
        """Rows of the table: ids [batch, sequence] -> [batch, sequence, width].

        ids -+- Gather(codes) - Cast [- nibbles] [- Sub(zero)] -+
             +- Gather(scales) - Unsqueeze ---------------------+- Mul -+- [Add] - Reshape [- Slice off the padding]
             +- [Gather(offsets) - Unsqueeze] --------------------------+
        """
        graph = self.context.graph
        if self.handle is None:
            return graph.node("Gather", [self.dense, ids], f"{path}/Gather", axis=0)[0]
        weight = self.handle.weight
        codes = graph.node("Gather", [self.handle.codes, ids], f"{path}/codes/Gather", axis=0)[0]
        codes = graph.node("Cast", [codes], f"{path}/codes/Cast", to=self.context.float_type)[0]
        if weight.bits == NIBBLE_BITS:
            codes = self._nibbles(codes, weight.blocks, weight.block_size, f"{path}/codes")
        if not weight.affine:
            zero = self._number(1 << (weight.bits - 1), f"zero_point_{weight.bits}bit")
            codes = graph.node("Sub", [codes, zero], f"{path}/codes/Sub")[0]
        # From the float32 scales that the head reads as well: GPUs without shader-f16 cannot gather float16.
        blocks = graph.node("Mul", [codes, self._gathered(self.handle.scale, ids, f"{path}/scale")], f"{path}/Mul")[0]
        if self.handle.offset16 is not None:
            offset = self.context.as_float(self.handle.offset16)
            blocks = graph.node("Add", [blocks, self._gathered(offset, ids, f"{path}/offset")], f"{path}/Add")[0]
        width = weight.blocks * weight.block_size
        flat = graph.constant([0, 0, width], f"/constants/flatten_{width}")
        rows = graph.node("Reshape", [blocks, flat], f"{path}/Reshape")[0]
        if width == self.width:
            return rows
        bounds = [graph.constant([value], f"/constants/slice_{value}") for value in (0, self.width, 2)]
        return graph.node("Slice", [rows, *bounds], f"{path}/Slice")[0]

    def _gathered(self, values: str, ids: str, path: str) -> str:
        """One number per block: [batch, sequence, blocks, 1]."""
        graph = self.context.graph
        rows = graph.node("Gather", [values, ids], f"{path}/Gather", axis=0)[0]
        return graph.node("Unsqueeze", [rows, graph.constant([-1], "/constants/axis_last")], f"{path}/Unsqueeze")[0]

    def _nibbles(self, codes: str, blocks: int, block_size: int, path: str) -> str:
        """Bytes [.., blocks, block_size / 2] as float -> their low and high halves in turn [.., blocks, block_size].

        codes -+- Mul(1/16) - Floor -+------------------- high -+
               |                     +- Mul(16) -+              +- Concat - Reshape
               +---------------------------- Sub +------- low --+

        In floats, and exact: WebGPU has no kernels for shifts of bytes.
        """
        graph = self.context.graph
        sixteenth = graph.node("Mul", [codes, self._number(1 / 16, "sixteenth")], f"{path}/sixteenth/Mul")[0]
        high = graph.node("Floor", [sixteenth], f"{path}/high/Floor")[0]
        raised = graph.node("Mul", [high, self._number(16, "sixteen")], f"{path}/high/Mul")[0]
        low = graph.node("Sub", [codes, raised], f"{path}/low/Sub")[0]
        last = graph.constant([-1], "/constants/axis_last")
        halves = [
            graph.node("Unsqueeze", [half, last], f"{path}/{name}/Unsqueeze")[0]
            for name, half in (("low", low), ("high", high))
        ]
        pairs = graph.node("Concat", halves, f"{path}/Concat", axis=-1)[0]
        shape = graph.constant([0, 0, blocks, block_size], f"/constants/blocks_{blocks}x{block_size}")
        return graph.node("Reshape", [pairs, shape], f"{path}/Reshape")[0]

    def _number(self, value: float, name: str) -> str:
        """A scalar in the type of the activations."""
        return self.context.graph.constant(np.array(value, self.context.float_numpy), f"/constants/{name}")

    def project(self, value: str, path: str) -> str:
        """``value [batch, sequence, width] @ table.T`` -> [batch, sequence, rows]."""
        if self.handle is not None:
            return nbits_linear(self.context, value, self.handle, path)
        graph = self.context.graph
        flat = graph.constant([-1, self.width], f"/constants/flat_{self.width}")
        rows = graph.node("Reshape", [value, flat], f"{path}/flatten/Reshape")[0]
        product = graph.node("Gemm", [rows, self.dense], f"{path}/Gemm", transB=1)[0]
        lead = graph.node("Shape", [value], f"{path}/shape/Shape", start=0, end=2)[0]
        size = graph.constant([self.rows], f"/constants/size_{self.rows}")
        shape = graph.node("Concat", [lead, size], f"{path}/shape/Concat", axis=0)[0]
        return graph.node("Reshape", [product, shape], f"{path}/Reshape")[0]


def output_head(context: BuildContext, value: str, tensor: LazyTensor, path: str) -> str:
    """A head with a table of its own, which has the bits of the embedding. Logits are float32."""
    return logits_float32(context, LinearWeight(context, tensor, context.embedding_bits).multiply(value, path), path)


def logits_float32(context: BuildContext, logits: str, path: str) -> str:
    """Logits leave the graph as float32, whatever the activations are."""
    if not context.dtype.float16:
        return logits
    return context.graph.node("Cast", [logits], f"{path}/Cast", to=TensorProto.FLOAT)[0]
