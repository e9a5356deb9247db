"""Owns normalization: RMSNorm and LayerNorm, alone or fused with the residual addition before them."""

from convert.checkpoint.tensor import shift
from convert.families.blocks.context import BuildContext
from convert.graph.builder import MICROSOFT
from convert.quantize.dense import dense_parts


def vector(context: BuildContext, name: str, size: int, *, offset: float = 0.0) -> str:
    """A float vector [size], such as a norm's weight or a bias; ``offset`` is added when it is written."""
    tensor = context.tensor(name, size)
    if offset:
        tensor = shift(tensor, offset)
    stored = context.graph.initializer_parts(
        dense_parts(tensor, float16=context.dtype.float16 or context.compact), name
    )
    return context.as_float(stored) if context.compact else stored


class NormWeights:
    """Weight and bias [size] of a LayerNorm; checkpoints that came from TensorFlow call them gamma and beta."""

    def __init__(self, context: BuildContext, name: str, size: int) -> None:
        weight, bias = ("gamma", "beta") if context.has(f"{name}.gamma") else ("weight", "bias")
        self.weight = vector(context, f"{name}.{weight}", size)
        self.bias = vector(context, f"{name}.{bias}", size)


def rms_norm(context: BuildContext, value: str, weight: str, path: str, *, epsilon: float) -> str:
    """RMSNorm over the last axis (SimplifiedLayerNormalization)."""
    return context.graph.node(
        "SimplifiedLayerNormalization",
        [value, weight],
        f"{path}/SimplifiedLayerNormalization",
        axis=-1,
        epsilon=epsilon,
        stash_type=1,
    )[0]


def skip_rms_norm(
    context: BuildContext, value: str, skip: str, weight: str, path: str, *, epsilon: float
) -> tuple[str, str]:
    """RMSNorm of ``value + skip``; returns (normalized, the sum that goes on as the residual)."""
    name = f"{path}/SkipSimplifiedLayerNormalization"
    normalized, total = f"{name}/output_0", f"{name}/output_3"
    context.graph.append(
        "SkipSimplifiedLayerNormalization",
        [skip, value, weight],
        [normalized, "", "", total],
        name,
        domain=MICROSOFT,
        epsilon=epsilon,
    )
    return normalized, total


def layer_norm(context: BuildContext, value: str, weight: str, bias: str, path: str, *, epsilon: float) -> str:
    """LayerNorm over the last axis."""
    return context.graph.node(
        "LayerNormalization", [value, weight, bias], f"{path}/LayerNormalization", axis=-1, epsilon=epsilon
    )[0]


def skip_layer_norm(
    context: BuildContext,
    value: str,
    skip: str,
    weight: str,
    bias: str,
    path: str,
    *,
    value_bias: str,
    epsilon: float,
) -> str:
    """LayerNorm of ``value + value_bias + skip``."""
    return context.graph.node(
        "SkipLayerNormalization",
        [value, skip, weight, bias, value_bias],
        f"{path}/SkipLayerNormalization",
        domain=MICROSOFT,
        epsilon=epsilon,
    )[0]
