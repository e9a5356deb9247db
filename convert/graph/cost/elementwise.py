"""What all else costs: steps that read and write rows."""

from math import prod

import numpy as np
from onnx import NodeProto, numpy_helper

from convert.graph.cost.walk import Rows, Walk, attributes

WIDTH_AXIS = 2
ACTIVATIONS = {"Clip", "QuickGelu", "Gelu", "FastGelu", "BiasGelu", "Relu", "Tanh", "Sigmoid"}
NORMS = {
    "SimplifiedLayerNormalization",
    "LayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "SkipLayerNormalization",
}


def add(walk: Walk, node: NodeProto) -> None:
    """A bias and the correction of affine blocks are part of the product; all else is a step."""
    found = [walk.rows[name] for name in node.input if name in walk.rows]
    constant = any(walk.shape(name) is not None for name in node.input)
    fused = [rows for rows in found if rows.linear]
    rows = walk.width(node)
    if rows is None:
        return walk.hand_on(node)
    if fused and (constant or "correction" in node.name):
        walk.rows[node.output[0]] = rows
        return None
    walk.step((2 if constant else 3) * rows.width, rows.single)
    walk.rows[node.output[0]] = Rows(rows.width, rows.single)
    return None


def multiply(walk: Walk, node: NodeProto) -> None:
    """A multiplication is a step, with the activation before it where it is gated by that."""
    if any(name in walk.unpacked for name in node.input):
        walk.unpacked.update(node.output)
        return
    rows = walk.width(node)
    if rows is None:
        return
    gated = any(name in walk.makers and walk.makers[name].op_type in ACTIVATIONS for name in node.input)
    constant = any(walk.shape(name) is not None for name in node.input)
    walk.step((2 if constant and not gated else 3) * rows.width, rows.single)
    walk.rows[node.output[0]] = Rows(rows.width, rows.single)


def activation(walk: Walk, node: NodeProto) -> None:
    """A function of each element is a step, unless it is a part of a product of two values."""
    rows = walk.width(node)
    if rows is None:
        return
    if [reader.op_type for reader in walk.readers.get(node.output[0], [])] != ["Mul"]:
        walk.step(2 * rows.width, rows.single)  # else it is a part of the multiplication by the gated value
    walk.rows[node.output[0]] = Rows(rows.width, rows.single)


def norm(walk: Walk, node: NodeProto) -> None:
    """A normalization is a step, with what is added before it."""
    rows = walk.width(node)
    if rows is None:
        return
    outputs = [name for name in node.output if name]
    inputs = 2 if node.op_type.startswith("Skip") else 1
    walk.step((inputs + len(outputs)) * rows.width, rows.single)
    for name in outputs:
        walk.rows[name] = Rows(rows.width, rows.single)


def gather(walk: Walk, node: NodeProto) -> None:
    """Rows of a table; the codes and the scales of a quantized one are read together."""
    table = walk.shape(node.input[0])
    if table is not None and attributes(node).get("axis", 0):
        return  # a bias by distance, which attention reads from its table
    if table is None:
        rows = walk.width(node)
        if rows:  # the first token of each sequence, or one column of a head
            walk.rows[node.output[0]] = Rows(rows.width, single=True)
        return
    if len(table) == 3:
        walk.unpacked.update(node.output)
        walk.step(prod(table[1:]))
    elif len(table) == 2 and "scale" not in node.name:
        walk.step(2 * table[1])
        walk.rows[node.output[0]] = Rows(table[1])


def reshape(walk: Walk, node: NodeProto) -> None:
    """Heads are cut and joined in place."""
    constant = walk.graph.constants.get(node.input[1])
    if constant is None:
        return walk.hand_on(node)
    dims = numpy_helper.to_array(constant)
    if node.input[0] in walk.unpacked:
        walk.rows[node.output[0]] = Rows(int(dims[-1]))
        return None
    if node.input[0] in walk.rows:
        before = walk.rows[node.input[0]]
        width = int(np.prod(dims[2:])) if len(dims) > 2 else before.width
        walk.rows[node.output[0]] = Rows(width, before.single, text=before.text)
    return None


def reduce_sum(walk: Walk, node: NodeProto) -> None:
    """Sums of blocks come with the quantized activations."""
    if node.input[0] in walk.rows:  # sums of blocks come with the quantized activations
        walk.rows[node.output[0]] = walk.rows[node.input[0]]


def cut(walk: Walk, node: NodeProto) -> None:
    """The last rows of a run; an embedding is cut to its width in place."""
    if "unseen_states" in node.name:
        walk.rows[node.output[0]] = Rows(0, text=True)
        return
    rows = walk.width(node)
    if rows is None:
        return
    ends, axes = (walk.graph.constants.get(name) for name in node.input[2:4])
    width = rows.width
    if ends is not None and axes is not None and numpy_helper.to_array(axes).item() == WIDTH_AXIS:
        width = min(width, numpy_helper.to_array(ends).item())
    walk.rows[node.output[0]] = Rows(width, single="keep_last" in node.name)
