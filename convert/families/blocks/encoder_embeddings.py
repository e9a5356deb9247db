"""Owns how encoders begin: their inputs, and positions that are counted from 0."""

import numpy as np
from onnx import TensorProto

from convert.families.blocks.context import BuildContext


def token_input(context: BuildContext, name: str) -> str:
    """An input int64 [batch, tokens], such as input_ids, attention_mask or token_type_ids."""
    return context.graph.input(name, TensorProto.INT64, ["batch_size", "sequence_length"])


def row_of_positions(context: BuildContext, ids: str) -> str:
    """0, 1, ... below the number of tokens, as [1, tokens].

    ids - Shape[1:2] - Reshape([]) - Range(0, ., 1) - Unsqueeze(0)
    """
    graph, path = context.graph, "/embeddings/positions"
    length = graph.node("Shape", [ids], f"{path}/Shape", start=1, end=2)[0]
    scalar = graph.constant(np.zeros((0,), np.int64), "/constants/scalar_shape")
    limit = graph.node("Reshape", [length, scalar], f"{path}/Reshape")[0]
    bounds = [graph.constant(0, "/constants/zero"), limit, graph.constant(1, "/constants/one")]
    positions = graph.node("Range", bounds, f"{path}/Range")[0]
    return graph.node("Unsqueeze", [positions, graph.constant([0], "/constants/axis_0")], f"{path}/Unsqueeze")[0]
