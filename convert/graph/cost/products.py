"""What products with weights cost: packed bytes, multiply-adds, and the rounding of what is multiplied."""

from math import ceil

from onnx import NodeProto

from convert.graph.cost.records import FLOAT_BYTES, OperatorCost
from convert.graph.cost.walk import Rows, Walk, attributes

BLOCK = 32
QUANTIZED_BLOCK_BYTES = 8 + 2 * BLOCK
"""A block of activations beside quantized weights: scale, sum and codes of 16 bits."""
SCALE_BYTES = 2
FLOAT_CODE_BYTES = 2
"""Float weights become blocks of 16-bit codes."""
FLOAT_SCALE_BYTES = 4


def linear(walk: Walk, node: NodeProto, kind: str, columns: int, inner: int, weight_bytes: int) -> None:
    """A product with a matrix [columns, inner] whose packed form has so many bytes."""
    value = node.input[0]
    rows = walk.rows.get(value, Rows(inner))
    name = f"{'head' if rows.single else 'linear'}_{kind}"
    tally = walk.tally(rows)
    tally.charge(name, OperatorCost(bytes=weight_bytes, macs=columns * inner))
    # Products of one value with weights of one kind are one step; of a text's only those of one layer.
    key = (value, kind, node.name.rsplit("/", 2)[0] if rows.text else "")
    if key not in walk.merged:
        walk.merged.add(key)
        tally.steps += 1
    walk.rows[node.output[0]] = Rows(columns, rows.single, linear=True, text=rows.text)


def quantize(walk: Walk, value: str, bits: int, width: int) -> None:
    """Rows are quantized once for all products with weights of so many bits."""
    if (value, bits) in walk.quantized:
        return
    walk.quantized.add((value, bits))
    rows = walk.rows.get(value, Rows(width))
    tally = walk.tally(rows)
    tally.steps += 1
    if not rows.single:
        moved = FLOAT_BYTES * width + ceil(width / BLOCK) * QUANTIZED_BLOCK_BYTES
        tally.charge("elementwise", OperatorCost(bytes=moved))


def matmul_nbits(walk: Walk, node: NodeProto) -> None:
    """A product with block-quantized weights."""
    given = attributes(node)
    columns, inner, bits = (int(given[name]) for name in ("N", "K", "bits"))
    blocks = ceil(inner / BLOCK)
    quantize(walk, node.input[0], bits, inner)
    linear(walk, node, f"{bits}bit", columns, inner, columns * blocks * (BLOCK * bits // 8 + SCALE_BYTES))


def matmul(walk: Walk, node: NodeProto) -> None:
    """A product with float weights, which the engine multiplies as blocks of 16-bit codes."""
    shape = walk.shape(node.input[1])
    if shape is None or node.input[0] not in walk.rows:
        return walk.hand_on(node)
    inner, columns = shape if node.op_type == "MatMul" else shape[::-1]
    if "correction" in node.name:  # offsets of affine blocks: they lie in the packed weights
        single = walk.rows[node.input[0]].single
        walk.own.charge("head_4bit" if single else "linear_4bit", OperatorCost(bytes=SCALE_BYTES * inner * columns))
        walk.rows[node.output[0]] = Rows(columns, single, linear=True)
        return None
    quantize(walk, node.input[0], 8 * FLOAT_CODE_BYTES, inner)
    block_bytes = BLOCK * FLOAT_CODE_BYTES + FLOAT_SCALE_BYTES
    return linear(walk, node, "float", columns, inner, columns * ceil(inner / BLOCK) * block_bytes)
