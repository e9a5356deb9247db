"""What attention and the storing of keys and values cost."""

from onnx import NodeProto

from convert.graph.cost.records import FLOAT_BYTES, OperatorCost
from convert.graph.cost.walk import Rows, Walk, attributes

CODE_BYTES = 2
"""Keys and values of a decoder are 16-bit codes."""

PAST_INPUT = 6
"""Where MultiHeadAttention has the keys of its cache."""


def _cached_bytes(heads: int, head_dim: int) -> int:
    """Of a token's keys and values: codes with a scale per head."""
    return 2 * heads * (head_dim * CODE_BYTES + FLOAT_BYTES)


def attention(walk: Walk, node: NodeProto) -> None:
    """Keys and values are stored and attended to; those of an encoder's text are stored already."""
    given = attributes(node)
    heads = int(given["num_heads"])
    pairs = int(given.get("kv_num_heads", heads))
    width = walk.rows[node.input[0]].width
    size = width // heads
    if node.input[1] in walk.stored:
        walk.own.charge("cross_attention", OperatorCost(bytes=_cached_bytes(heads, size), macs=2 * width))
        walk.step(2 * width)
        walk.rows[node.output[0]] = Rows(width)
        return
    causal = node.op_type == "GroupQueryAttention" or len(node.input) > PAST_INPUT
    window = int(given.get("local_window_size", -1))
    item = CODE_BYTES if causal else FLOAT_BYTES
    name = f"attention_window_{window}" if window > 0 else "attention"
    cached = _cached_bytes(pairs, size) if causal else 2 * pairs * size * FLOAT_BYTES
    walk.own.charge(name, OperatorCost(bytes=cached, macs=2 * heads * size))
    kept = 2 * pairs * size
    walk.step(width + kept + width + kept * item // FLOAT_BYTES)  # queries and keys are rotated, keys and values kept
    walk.step(2 * width)
    walk.rows[node.output[0]] = Rows(width)


def concat(walk: Walk, node: NodeProto) -> None:
    """The keys or the values of a text join the cache; both are one step."""
    rows = walk.rows.get(node.input[-1])
    if rows is None or not rows.text:
        return walk.hand_on(node)
    walk.stored.add(node.output[0])
    if len(walk.stored) % 2 == 0:
        walk.step(2 * rows.width + 2 * rows.width * CODE_BYTES // FLOAT_BYTES, text=True)
    return None
