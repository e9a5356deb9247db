"""Owns how encoders begin: their inputs, positions, and the sum of embeddings that is normalized."""

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import LazyTensor
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.norm import NormWeights, layer_norm


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


def embed(
    context: BuildContext,
    name: str,
    words: EmbeddingTable,
    ids: str,
    positions: LazyTensor,
    places: str,
    *,
    epsilon: float,
    types: str = "",
    type_count: int = 0,
) -> str:
    """Word + position embeddings, + ``type_count`` segment embeddings where ``types`` is given; normalized.

    Args:
        name: of the checkpoint's module.
        positions: table [positions, width]; ``places`` are its rows, [batch or 1, tokens].

    ids - words -----+
    places - positions - Add [- Add - types] - LayerNormalization
    """
    graph, path = context.graph, "/embeddings"
    table = EmbeddingTable(context, positions)
    gathered = words.lookup(ids, f"{path}/word_embeddings")
    total = graph.node("Add", [gathered, table.lookup(places, f"{path}/position_embeddings")], f"{path}/Add")[0]
    if types:
        segments = EmbeddingTable(
            context, context.tensor(f"{name}.token_type_embeddings.weight", type_count, words.width)
        )
        segment = segments.lookup(types, f"{path}/token_type_embeddings")
        total = graph.node("Add", [total, segment], f"{path}/token_type_embeddings/Add")[0]
    norm = NormWeights(context, f"{name}.LayerNorm", words.width)
    return layer_norm(context, total, norm.weight, norm.bias, f"{path}/LayerNorm", epsilon=epsilon)
