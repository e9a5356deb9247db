"""Owns what one run of a graph costs the browser's engine, read off the graph: it mirrors how static/engine/ lowers it.

Costs are grouped into operator classes, because each has a rate of its own on a device:

    linear_4bit, linear_8bit, linear_float   products with a weight, for every row: packed bytes, multiply-adds
    head_4bit, head_8bit, head_float         the same for one row of a run only: logits of the last token, classifiers
    attention[_window_N]                     for each token that a row sees (at most N): bytes of its key and value,
                                             and the multiply-adds of one row with them
    cross_attention                          the same for each token of the text that a row answers
    elementwise                              all else, for every row: bytes read and written
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, prod

import numpy as np
from onnx import NodeProto, numpy_helper

from convert.graph.builder import GraphBuilder

FLOAT_BYTES = 4
"""Activations are float32."""
CODE_BYTES = 2
"""Keys and values of a decoder are 16-bit codes."""
BLOCK = 32
QUANTIZED_BLOCK_BYTES = 8 + 2 * BLOCK
"""A block of activations beside quantized weights: scale, sum and codes of 16 bits."""
SCALE_BYTES = 2
FLOAT_CODE_BYTES = 2
"""Float weights become blocks of 16-bit codes."""
FLOAT_SCALE_BYTES = 4

PAST_INPUT = 6
"""Where MultiHeadAttention has the keys of its cache."""

_ACTIVATIONS = {"Clip", "QuickGelu", "Gelu", "FastGelu", "BiasGelu", "Relu", "Tanh", "Sigmoid"}
_NORMS = {
    "SimplifiedLayerNormalization",
    "LayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "SkipLayerNormalization",
}
_PASSED_ON = {"Identity", "Cast", "Squeeze", "Transpose"}


@dataclass(frozen=True)
class OperatorCost:
    """Bytes moved and multiply-adds done."""

    bytes: int = 0
    macs: int = 0

    def __add__(self, other: "OperatorCost") -> "OperatorCost":
        return OperatorCost(self.bytes + other.bytes, self.macs + other.macs)


@dataclass(frozen=True)
class GraphCost:
    """Cost by operator class, and the steps of the engine's plan.

    ``text`` is what a decoder does once for each text of its encoder, for every token of that: its keys and values.
    """

    classes: Mapping[str, OperatorCost]
    steps: int
    text: "GraphCost | None" = None

    def __add__(self, other: "GraphCost") -> "GraphCost":
        names = sorted({*self.classes, *other.classes})
        none = OperatorCost()
        return GraphCost(
            {name: self.classes.get(name, none) + other.classes.get(name, none) for name in names},
            self.steps + other.steps,
        )


@dataclass(frozen=True)
class _Rows:
    """A value made of rows: one a token, or one a run when ``single``; ``linear`` when a product made it.

    ``text`` marks those of an encoder's text in the graph of a decoder.
    """

    width: int
    single: bool = False
    linear: bool = False
    text: bool = False


@dataclass
class _Tally:
    classes: dict[str, OperatorCost] = field(default_factory=dict)
    steps: int = 0

    def charge(self, name: str, cost: OperatorCost) -> None:
        self.classes[name] = self.classes.get(name, OperatorCost()) + cost

    def cost(self, text: GraphCost | None = None) -> GraphCost:
        return GraphCost(dict(sorted(self.classes.items())), self.steps, text)


@dataclass
class _Walk:
    graph: GraphBuilder
    own: _Tally = field(default_factory=_Tally)
    text: _Tally = field(default_factory=_Tally)
    rows: dict[str, _Rows] = field(default_factory=dict)
    unpacked: set[str] = field(default_factory=set)
    """Values on the way from codes and scales of an embedding to its rows."""
    quantized: set[tuple[str, int]] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    """Keys and values of an encoder's text."""
    merged: set[tuple[str, str, str]] = field(default_factory=set)
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.makers = {name: node for node in self.graph.nodes for name in node.output if name}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.graph.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def tally(self, rows: _Rows | None) -> _Tally:
        """Where the cost of rows belongs."""
        return self.text if rows and rows.text else self.own

    def step(self, moved_floats: int, single: bool = False, *, text: bool = False) -> None:
        """A step that reads and writes so many floats a row."""
        tally = self.text if text else self.own
        tally.steps += 1
        if not single:
            tally.charge("elementwise", OperatorCost(bytes=FLOAT_BYTES * moved_floats))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a constant, folded or not; None for what depends on the inputs."""
        if name not in self.shapes:
            self.shapes[name] = self._find_shape(name)
        return self.shapes[name]

    def _find_shape(self, name: str) -> tuple[int, ...] | None:
        if name in self.graph.initializers:
            return self.graph.initializers[name].shape
        if name in self.graph.constants:
            return tuple(self.graph.constants[name].dims)
        node = self.makers.get(name)
        shapes = [self.shape(item) for item in node.input if item] if node else []
        if node is None or not shapes or any(shape is None for shape in shapes):
            return None
        known = [shape for shape in shapes if shape is not None]
        if node.op_type == "Transpose":
            return known[0][::-1]
        if node.op_type == "Concat" and len(known[0]) > 1:
            return (sum(shape[0] for shape in known), *known[0][1:])
        return max(known, key=len)

    def width(self, node: NodeProto) -> _Rows | None:
        """The widest rows among the inputs of a node."""
        found = [self.rows[name] for name in node.input if name in self.rows]
        return max(found, key=lambda rows: rows.width, default=None)


def graph_cost(graph: GraphBuilder) -> GraphCost:
    """Walk the graph in the order of its nodes and add up what the engine's plan will do for it."""
    walk = _Walk(graph)
    for node in graph.nodes:
        if all(walk.shape(name) is not None for name in node.input if name):
            continue  # folded when the model is loaded
        _OPERATORS.get(node.op_type, _other)(walk, node)
    return walk.own.cost(walk.text.cost() if walk.text.steps else None)


def _attributes(node: NodeProto) -> dict[str, int | float]:
    return {item.name: item.i if item.type == item.INT else item.f for item in node.attribute}


def _linear(walk: _Walk, node: NodeProto, kind: str, columns: int, inner: int, weight_bytes: int) -> None:
    value = node.input[0]
    rows = walk.rows.get(value, _Rows(inner))
    name = f"{'head' if rows.single else 'linear'}_{kind}"
    tally = walk.tally(rows)
    tally.charge(name, OperatorCost(bytes=weight_bytes, macs=columns * inner))
    # Products of one value with weights of one kind are one step; of a text's only those of one layer.
    key = (value, kind, node.name.rsplit("/", 2)[0] if rows.text else "")
    if key not in walk.merged:
        walk.merged.add(key)
        tally.steps += 1
    walk.rows[node.output[0]] = _Rows(columns, rows.single, linear=True, text=rows.text)


def _quantize(walk: _Walk, value: str, bits: int, width: int) -> None:
    """Rows are quantized once for all products with weights of so many bits."""
    if (value, bits) in walk.quantized:
        return
    walk.quantized.add((value, bits))
    rows = walk.rows.get(value, _Rows(width))
    tally = walk.tally(rows)
    tally.steps += 1
    if not rows.single:
        moved = FLOAT_BYTES * width + ceil(width / BLOCK) * QUANTIZED_BLOCK_BYTES
        tally.charge("elementwise", OperatorCost(bytes=moved))


def _matmul_nbits(walk: _Walk, node: NodeProto) -> None:
    attributes = _attributes(node)
    columns, inner, bits = (int(attributes[name]) for name in ("N", "K", "bits"))
    blocks = ceil(inner / BLOCK)
    _quantize(walk, node.input[0], bits, inner)
    _linear(walk, node, f"{bits}bit", columns, inner, columns * blocks * (BLOCK * bits // 8 + SCALE_BYTES))


def _matmul(walk: _Walk, node: NodeProto) -> None:
    shape = walk.shape(node.input[1])
    if shape is None or node.input[0] not in walk.rows:
        return _other(walk, node)
    inner, columns = shape if node.op_type == "MatMul" else shape[::-1]
    if "correction" in node.name:  # offsets of affine blocks: they lie in the packed weights
        single = walk.rows[node.input[0]].single
        walk.own.charge("head_4bit" if single else "linear_4bit", OperatorCost(bytes=SCALE_BYTES * inner * columns))
        walk.rows[node.output[0]] = _Rows(columns, single, linear=True)
        return None
    _quantize(walk, node.input[0], 8 * FLOAT_CODE_BYTES, inner)
    block_bytes = BLOCK * FLOAT_CODE_BYTES + FLOAT_SCALE_BYTES
    return _linear(walk, node, "float", columns, inner, columns * ceil(inner / BLOCK) * block_bytes)


def _add(walk: _Walk, node: NodeProto) -> None:
    """A bias and the correction of affine blocks are part of the product; all else is a step."""
    found = [walk.rows[name] for name in node.input if name in walk.rows]
    constant = any(walk.shape(name) is not None for name in node.input)
    fused = [rows for rows in found if rows.linear]
    rows = walk.width(node)
    if rows is None:
        return _other(walk, node)
    if fused and (constant or "correction" in node.name):
        walk.rows[node.output[0]] = rows
        return None
    walk.step((2 if constant else 3) * rows.width, rows.single)
    walk.rows[node.output[0]] = _Rows(rows.width, rows.single)
    return None


def _multiply(walk: _Walk, node: NodeProto) -> None:
    if any(name in walk.unpacked for name in node.input):
        walk.unpacked.update(node.output)
        return
    rows = walk.width(node)
    if rows is None:
        return
    gated = any(name in walk.makers and walk.makers[name].op_type in _ACTIVATIONS for name in node.input)
    constant = any(walk.shape(name) is not None for name in node.input)
    walk.step((2 if constant and not gated else 3) * rows.width, rows.single)
    walk.rows[node.output[0]] = _Rows(rows.width, rows.single)


def _activation(walk: _Walk, node: NodeProto) -> None:
    rows = walk.width(node)
    if rows is None:
        return
    if [reader.op_type for reader in walk.readers.get(node.output[0], [])] != ["Mul"]:
        walk.step(2 * rows.width, rows.single)  # else it is a part of the multiplication by the gated value
    walk.rows[node.output[0]] = _Rows(rows.width, rows.single)


def _norm(walk: _Walk, node: NodeProto) -> None:
    rows = walk.width(node)
    if rows is None:
        return
    outputs = [name for name in node.output if name]
    inputs = 2 if node.op_type.startswith("Skip") else 1
    walk.step((inputs + len(outputs)) * rows.width, rows.single)
    for name in outputs:
        walk.rows[name] = _Rows(rows.width, rows.single)


def _cached_bytes(heads: int, head_dim: int) -> int:
    """Of a token's keys and values: codes with a scale per head."""
    return 2 * heads * (head_dim * CODE_BYTES + FLOAT_BYTES)


def _attention(walk: _Walk, node: NodeProto) -> None:
    attributes = _attributes(node)
    heads = int(attributes["num_heads"])
    pairs = int(attributes.get("kv_num_heads", heads))
    width = walk.rows[node.input[0]].width
    size = width // heads
    if node.input[1] in walk.stored:
        walk.own.charge("cross_attention", OperatorCost(bytes=_cached_bytes(heads, size), macs=2 * width))
        walk.step(2 * width)
        walk.rows[node.output[0]] = _Rows(width)
        return
    causal = node.op_type == "GroupQueryAttention" or len(node.input) > PAST_INPUT
    window = int(attributes.get("local_window_size", -1))
    item = CODE_BYTES if causal else FLOAT_BYTES
    name = f"attention_window_{window}" if window > 0 else "attention"
    cached = _cached_bytes(pairs, size) if causal else 2 * pairs * size * FLOAT_BYTES
    walk.own.charge(name, OperatorCost(bytes=cached, macs=2 * heads * size))
    kept = 2 * pairs * size
    walk.step(width + kept + width + kept * item // FLOAT_BYTES)  # queries and keys are rotated, keys and values kept
    walk.step(2 * width)
    walk.rows[node.output[0]] = _Rows(width)


def _gather(walk: _Walk, node: NodeProto) -> None:
    table = walk.shape(node.input[0])
    if table is not None and _attributes(node).get("axis", 0):
        return  # a bias by distance, which attention reads from its table
    if table is None:
        rows = walk.width(node)
        if rows:  # the first token of each sequence, or one column of a head
            walk.rows[node.output[0]] = _Rows(rows.width, single=True)
        return
    if len(table) == 3:
        walk.unpacked.update(node.output)
        walk.step(prod(table[1:]))
    elif len(table) == 2 and "scale" not in node.name:
        walk.step(2 * table[1])
        walk.rows[node.output[0]] = _Rows(table[1])


def _reshape(walk: _Walk, node: NodeProto) -> None:
    constant = walk.graph.constants.get(node.input[1])
    if constant is None:
        return _other(walk, node)
    dims = numpy_helper.to_array(constant)
    if node.input[0] in walk.unpacked:
        walk.rows[node.output[0]] = _Rows(int(dims[-1]))
        return None
    if node.input[0] in walk.rows:
        before = walk.rows[node.input[0]]
        width = int(np.prod(dims[2:])) if len(dims) > 2 else before.width
        walk.rows[node.output[0]] = _Rows(width, before.single, text=before.text)
    return None


def _reduce_sum(walk: _Walk, node: NodeProto) -> None:
    if node.input[0] in walk.rows:  # sums of blocks come with the quantized activations
        walk.rows[node.output[0]] = walk.rows[node.input[0]]


def _concat(walk: _Walk, node: NodeProto) -> None:
    """The keys or the values of a text join the cache; both are one step."""
    rows = walk.rows.get(node.input[-1])
    if rows is None or not rows.text:
        return _other(walk, node)
    walk.stored.add(node.output[0])
    if len(walk.stored) % 2 == 0:
        walk.step(2 * rows.width + 2 * rows.width * CODE_BYTES // FLOAT_BYTES, text=True)
    return None


def _slice(walk: _Walk, node: NodeProto) -> None:
    if "unseen_states" in node.name:
        walk.rows[node.output[0]] = _Rows(0, text=True)
        return
    rows = walk.width(node)
    if rows:  # the last rows; an embedding is cut to its width in place
        walk.rows[node.output[0]] = _Rows(rows.width, single="keep_last" in node.name)


def _other(walk: _Walk, node: NodeProto) -> None:
    """Lengths, positions and masks make no rows; casts and the like hand theirs on."""
    if node.op_type in _PASSED_ON and node.input[0] in walk.rows:
        walk.rows[node.output[0]] = walk.rows[node.input[0]]
    elif any(name in walk.unpacked for name in node.input):
        walk.unpacked.update(node.output)
    elif node.op_type in {"Div", "Sub"} and (rows := walk.width(node)):
        walk.rows[node.output[0]] = _Rows(rows.width, rows.single)


_OPERATORS = {
    "Add": _add,
    "Concat": _concat,
    "Gather": _gather,
    "Gemm": _matmul,
    "GroupQueryAttention": _attention,
    "MatMul": _matmul,
    "MatMulNBits": _matmul_nbits,
    "Mul": _multiply,
    "MultiHeadAttention": _attention,
    "ReduceSum": _reduce_sum,
    "Reshape": _reshape,
    "Slice": _slice,
    **dict.fromkeys(_ACTIVATIONS, _activation),
    **dict.fromkeys(_NORMS, _norm),
}
