"""Owns the cosine and sine tables of rotary position embedding, computed in the graph instead of downloaded."""

import numpy as np
from onnx import TensorProto

from convert.families.blocks.context import BuildContext


def rotary_tables(context: BuildContext, *, head_dim: int, positions: int, theta: float, path: str) -> tuple[str, str]:
    """Cosine and sine [positions, head_dim / 2] (Su et al. 2021, as GroupQueryAttention reads them).

    The nodes depend on constants only, so a session computes them once while it loads; stored, the tables would be
    ``4 * positions * head_dim`` bytes of every download.
    """
    graph = context.graph
    frequency = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim))
    limits = [np.array(value, np.float32) for value in (0.0, positions, 1.0)]
    names = [
        graph.constant(value, f"{path}/{part}") for value, part in zip(limits, ("start", "limit", "delta"), strict=True)
    ]
    steps = graph.node("Range", names, f"{path}/Range")[0]
    column = graph.node("Unsqueeze", [steps, graph.constant([1], "/constants/axis_1")], f"{path}/Unsqueeze")[0]
    inverse = graph.constant(frequency.astype(np.float32).reshape(1, -1), f"{path}/inverse_frequency")
    angles = graph.node("Mul", [column, inverse], f"{path}/Mul")[0]
    tables = []
    for function in ("Cos", "Sin"):
        table = graph.node(function, [angles], f"{path}/{function}")[0]
        if context.dtype.float16:
            table = graph.node("Cast", [table], f"{path}/{function}/Cast", to=TensorProto.FLOAT16)[0]
        tables.append(table)
    return tables[0], tables[1]
