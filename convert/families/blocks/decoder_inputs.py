"""Owns what every decoder is fed with, and the lengths that its layers need of it."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from convert.families.blocks.context import BuildContext


@dataclass(frozen=True)
class DecoderInputs:
    """Graph inputs: ids [batch, sequence], mask [batch, past + sequence], both int64; kept int64 scalar (0: all)."""

    ids: str
    mask: str
    kept: str


@dataclass(frozen=True)
class Lengths:
    """Sequence lengths in the int32 form of GroupQueryAttention."""

    last: str
    """Position of each sequence's last token, [batch]."""
    total: str
    """Length of the longest, past included, scalar."""


def decoder_inputs(context: BuildContext) -> DecoderInputs:
    """Declare the inputs that Transformers.js feeds; keys and values of the past are declared by each layer."""
    graph = context.graph
    return DecoderInputs(
        graph.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"]),
        graph.input("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"]),
        graph.input("num_logits_to_keep", TensorProto.INT64, []),
    )


def sequence_lengths(context: BuildContext, mask: str) -> Lengths:
    """Lengths from the attention mask; sequences of a batch are padded on the right.

    mask --+-- ReduceSum -- Sub(1) -- Cast -- last
           +-- Shape -- Gather(1) -- Cast -- total
    """
    graph, path = context.graph, "/model/attention_mask"
    axis = graph.constant([1], "/constants/axis_1")
    count = graph.node("ReduceSum", [mask, axis], f"{path}/ReduceSum", keepdims=0)[0]
    before = graph.node("Sub", [count, axis], f"{path}/Sub")[0]
    last = graph.node("Cast", [before], f"{path}/seqlens_k/Cast", to=TensorProto.INT32)[0]
    shape = graph.node("Shape", [mask], f"{path}/Shape")[0]
    total = graph.node("Gather", [shape, graph.constant(1, "/constants/one")], f"{path}/Gather", axis=0)[0]
    return Lengths(last, graph.node("Cast", [total], f"{path}/total_length/Cast", to=TensorProto.INT32)[0])


def position_row(context: BuildContext, ids: str, mask: str) -> str:
    """Positions of the ids in their sequence, int64 [1, sequence], for learned position embeddings.

    ids -- Shape[1] --+
                      +-- Sub -- Reshape -- Range(start, end, 1) -- Unsqueeze
    mask - Shape[1] --+--------- Reshape ---/
    """
    graph, path = context.graph, "/model/positions"
    count = graph.node("Shape", [ids], f"{path}/count/Shape", start=1, end=2)[0]
    total = graph.node("Shape", [mask], f"{path}/total/Shape", start=1, end=2)[0]
    before = graph.node("Sub", [total, count], f"{path}/Sub")[0]
    scalar = graph.constant(np.zeros((0,), np.int64), "/constants/scalar_shape")
    start = graph.node("Reshape", [before, scalar], f"{path}/start/Reshape")[0]
    end = graph.node("Reshape", [total, scalar], f"{path}/end/Reshape")[0]
    steps = graph.node("Range", [start, end, graph.constant(1, "/constants/one")], f"{path}/Range")[0]
    return graph.node("Unsqueeze", [steps, graph.constant([0], "/constants/axis_0")], f"{path}/Unsqueeze")[0]
