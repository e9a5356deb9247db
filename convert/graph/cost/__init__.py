"""Owns what one run of a graph costs the browser's engine, read off the graph: it mirrors how static/engine/ lowers it.

Costs are grouped into operator classes, because each has a rate of its own on a device:

    linear_4bit, linear_8bit, linear_float   products with a weight, for every row: packed bytes, multiply-adds
    head_4bit, head_8bit, head_float         the same for one row of a run only: logits of the last token, classifiers
    attention[_window_N]                     for each token that a row sees (at most N): bytes of its key and value,
                                             and the multiply-adds of one row with them
    cross_attention                          the same for each token of the text that a row answers
    elementwise                              all else, for every row: bytes read and written
"""

from collections.abc import Callable

from onnx import NodeProto

from convert.graph.builder import GraphBuilder
from convert.graph.cost import attention, elementwise, products
from convert.graph.cost.records import FLOAT_BYTES, GraphCost, OperatorCost
from convert.graph.cost.walk import Walk

__all__ = ["FLOAT_BYTES", "GraphCost", "OperatorCost", "graph_cost"]

OPERATORS: dict[str, Callable[[Walk, NodeProto], None]] = {
    "Add": elementwise.add,
    "Concat": attention.concat,
    "Gather": elementwise.gather,
    "Gemm": products.matmul,
    "GroupQueryAttention": attention.attention,
    "MatMul": products.matmul,
    "MatMulNBits": products.matmul_nbits,
    "Mul": elementwise.multiply,
    "MultiHeadAttention": attention.attention,
    "ReduceSum": elementwise.reduce_sum,
    "Reshape": elementwise.reshape,
    "Slice": elementwise.cut,
    **dict.fromkeys(elementwise.ACTIVATIONS, elementwise.activation),
    **dict.fromkeys(elementwise.NORMS, elementwise.norm),
}


def graph_cost(graph: GraphBuilder) -> GraphCost:
    """Walk the graph in the order of its nodes and add up what the engine's plan will do for it."""
    walk = Walk(graph)
    for node in graph.nodes:
        if all(walk.shape(name) is not None for name in node.input if name):
            continue  # folded when the model is loaded
        OPERATORS.get(node.op_type, Walk.hand_on)(walk, node)
    return walk.own.cost(walk.text.cost() if walk.text.steps else None)
