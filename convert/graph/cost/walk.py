"""Owns the state of a walk through a graph: the rows that its values are, and what was counted so far."""

from dataclasses import dataclass, field

from onnx import NodeProto

from convert.graph.builder import GraphBuilder
from convert.graph.cost.records import FLOAT_BYTES, GraphCost, OperatorCost

_PASSED_ON = {"Identity", "Cast", "Squeeze", "Transpose"}


@dataclass(frozen=True)
class Rows:
    """A value made of rows: one a token, or one a run when ``single``; ``linear`` when a product made it.

    ``text`` marks those of an encoder's text in the graph of a decoder.
    """

    width: int
    single: bool = False
    linear: bool = False
    text: bool = False


@dataclass
class Tally:
    """What was counted so far."""

    classes: dict[str, OperatorCost] = field(default_factory=dict)
    steps: int = 0

    def charge(self, name: str, cost: OperatorCost) -> None:
        """Add to an operator class."""
        self.classes[name] = self.classes.get(name, OperatorCost()) + cost

    def cost(self, text: GraphCost | None = None) -> GraphCost:
        """The tally as a result."""
        return GraphCost(dict(sorted(self.classes.items())), self.steps, text)


@dataclass
class Walk:
    """A graph, the rows that its values are, and the tallies of its own work and of that for an encoder's text."""

    graph: GraphBuilder
    own: Tally = field(default_factory=Tally)
    text: Tally = field(default_factory=Tally)
    rows: dict[str, Rows] = field(default_factory=dict)
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

    def tally(self, rows: Rows | None) -> Tally:
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

    def width(self, node: NodeProto) -> Rows | None:
        """The widest rows among the inputs of a node."""
        found = [self.rows[name] for name in node.input if name in self.rows]
        return max(found, key=lambda rows: rows.width, default=None)

    def hand_on(self, node: NodeProto) -> None:
        """Lengths, positions and masks make no rows; casts and the like hand theirs on."""
        if node.op_type in _PASSED_ON and node.input[0] in self.rows:
            self.rows[node.output[0]] = self.rows[node.input[0]]
        elif any(name in self.unpacked for name in node.input):
            self.unpacked.update(node.output)
        elif node.op_type in {"Div", "Sub"} and (rows := self.width(node)):
            self.rows[node.output[0]] = Rows(rows.width, rows.single)


def attributes(node: NodeProto) -> dict[str, int | float]:
    """Integers and floats by name."""
    return {item.name: item.i if item.type == item.INT else item.f for item in node.attribute}
