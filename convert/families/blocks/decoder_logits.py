"""Owns the end of every decoder: the positions that are kept, the output head, tied or not, and its soft cap."""

import numpy as np
from onnx import TensorProto

from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable, logits_float32, output_head
from convert.families.blocks.tying import check_tied
from convert.graph.builder import GraphBuilder

INT64_MAX = (1 << 63) - 1
HEAD = "lm_head.weight"


def decoder_logits(
    context: BuildContext, value: str, kept: str, table: EmbeddingTable, *, tied: bool, softcap: float | None = None
) -> None:
    """Write the graph output ``logits`` float32 [batch, kept, vocab] from ``value`` [batch, sequence, hidden].

    ``softcap`` bounds logits to +-softcap: ``softcap * tanh(logits / softcap)`` (Gemma 2).

        value -- keep_last -- MatMulNBits | MatMul | Gemm [-- Cast] [-- Div -- Tanh -- Mul] -- Identity
    """
    last = _keep_last(context, value, kept)
    if tied:
        check_tied(context, table.tensor, HEAD)
        logits = logits_float32(context, table.project(last, "/lm_head"), "/lm_head")
    else:
        logits = output_head(context, last, context.tensor(HEAD, table.rows, table.width), "/lm_head")
    if softcap:
        logits = _soft_cap(context.graph, logits, softcap)
    context.graph.append("Identity", [logits], ["logits"], "/logits/Identity")


def declare_logits(context: BuildContext, vocab_size: int) -> None:
    """Declare the output that ``decoder_logits`` writes; the first output, before the keys and values."""
    context.graph.output("logits", TensorProto.FLOAT, ["batch_size", "kept_length", vocab_size])


def _soft_cap(graph: GraphBuilder, logits: str, softcap: float) -> str:
    limit = graph.constant(np.array(softcap, np.float32), "/logits/softcap")
    scaled = graph.node("Div", [logits, limit], "/logits/Div")[0]
    bounded = graph.node("Tanh", [scaled], "/logits/Tanh")[0]
    return graph.node("Mul", [bounded, limit], "/logits/Mul")[0]


def _keep_last(context: BuildContext, value: str, kept: str) -> str:
    """The last ``kept`` positions; ``Slice`` from ``-0`` keeps all."""
    graph, path = context.graph, "/model/keep_last"
    start = graph.node("Neg", [kept], f"{path}/Neg")[0]
    one = graph.constant([1], "/constants/axis_1")
    starts = graph.node("Reshape", [start, one], f"{path}/Reshape")[0]
    ends = graph.constant([INT64_MAX], "/constants/int64_max")
    return graph.node("Slice", [value, starts, ends, one], f"{path}/Slice")[0]
