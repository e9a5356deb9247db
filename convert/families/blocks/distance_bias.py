"""Owns attention biases that depend on how far a key stands from a query: causality, and T5's learned distances."""

import numpy as np
from numpy.typing import NDArray

from convert.families.blocks.context import BuildContext
from convert.families.blocks.encoder import MASKED
from convert.graph.builder import GraphBuilder
from convert.quantize.dense import dense_parts


def causal_bias(context: BuildContext, queries: str, keys: str) -> str:
    """0 for keys up to the query, ``MASKED`` for later ones: [1, 1, queries, keys] of two rows of positions."""
    table = context.graph.constant(np.array([[0, MASKED]], context.float_numpy), "/constants/causal")
    return _by_distance(context, table, 0, 1, queries, keys, "/causal_bias")


def relative_bias(
    context: BuildContext,
    name: str,
    queries: str,
    keys: str,
    *,
    heads: int,
    buckets: int,
    max_distance: int,
    causal: bool,
) -> str:
    """T5's learned bias (Raffel et al. 2020, section 2.1), with later keys masked where it is ``causal``.

    ``name`` is a table [buckets, heads]; the result is [1, heads, queries, keys]. Which bucket each distance falls
    into is computed here, so that the graph reads a table of distances.

    name - Gather(bucket of each distance) - Transpose [- Concat(., MASKED)] - table of `_by_distance`
    """
    graph, path = context.graph, "/relative_bias"
    highest = 0 if causal else max_distance
    parts = dense_parts(context.tensor(name, buckets, heads), float16=context.dtype.float16)
    learned = graph.initializer_parts(parts, name)
    indices = bucket_of_distance(np.arange(-max_distance, highest + 1), buckets, max_distance, causal=causal)
    chosen = graph.constant(indices, f"{path}/buckets")
    rows = graph.node("Gather", [learned, chosen], f"{path}/table/Gather", axis=0)[0]
    table = graph.node("Transpose", [rows], f"{path}/table/Transpose", perm=[1, 0])[0]
    if causal:
        masked = graph.constant(np.full((heads, 1), MASKED, context.float_numpy), f"{path}/masked")
        table = graph.node("Concat", [table, masked], f"{path}/table/Concat", axis=1)[0]
        highest = 1
    return _by_distance(context, table, -max_distance, highest, queries, keys, path)


def bucket_of_distance(
    distance: NDArray[np.int64], buckets: int, max_distance: int, *, causal: bool
) -> NDArray[np.int64]:
    """The bucket of each ``key position - query position``: near ones have their own, farther ones share.

    In float32, like the original, whose rounding decides at the edges.
    """
    first = np.zeros_like(distance)
    if causal:
        away = -np.minimum(distance, 0)
    else:
        buckets //= 2
        first = np.where(distance > 0, buckets, 0)
        away = np.abs(distance)
    exact = buckets // 2
    ratio = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        np.log(max_distance / exact)
    )
    far = exact + (ratio * np.float32(buckets - exact)).astype(np.int64)
    return np.asarray(first + np.where(away < exact, away, np.minimum(far, buckets - 1)), np.int64)


def positions(graph: GraphBuilder, start: str, stop: str, path: str) -> str:
    """start, start + 1, ... below ``stop``, two scalars: Range."""
    return graph.node("Range", [start, stop, graph.constant(1, "/constants/one")], f"{path}/Range")[0]


def length_of(graph: GraphBuilder, value: str, axis: int, path: str) -> str:
    """Length of an axis, as a scalar: Shape - Reshape([])."""
    length = graph.node("Shape", [value], f"{path}/Shape", start=axis, end=axis + 1)[0]
    scalar = graph.constant(np.zeros((0,), np.int64), "/constants/scalar_shape")
    return graph.node("Reshape", [length, scalar], f"{path}/Reshape")[0]


def _by_distance(
    context: BuildContext, table: str, lowest: int, highest: int, queries: str, keys: str, path: str
) -> str:
    """``table[head, clip(key - query, lowest, highest) - lowest]`` as [1, heads, queries, keys].

    keys - Unsqueeze(0) - Sub(., Unsqueeze(queries, 1)) - Clip - Sub(lowest) - Gather(table, axis 1) - Unsqueeze(0)
    """
    graph = context.graph
    zero, one = graph.constant([0], "/constants/axis_0"), graph.constant([1], "/constants/axis_1")
    row = graph.node("Unsqueeze", [keys, zero], f"{path}/keys/Unsqueeze")[0]
    column = graph.node("Unsqueeze", [queries, one], f"{path}/queries/Unsqueeze")[0]
    distance = graph.node("Sub", [row, column], f"{path}/distance/Sub")[0]
    bounds = [graph.constant(bound, f"{path}/{name}") for bound, name in ((lowest, "lowest"), (highest, "highest"))]
    clipped = graph.node("Clip", [distance, *bounds], f"{path}/distance/Clip")[0]
    index = graph.node("Sub", [clipped, bounds[0]], f"{path}/index/Sub")[0]
    bias = graph.node("Gather", [table, index], f"{path}/Gather", axis=1)[0]
    return graph.node("Unsqueeze", [bias, zero], f"{path}/Unsqueeze")[0]
