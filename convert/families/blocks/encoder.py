"""Owns what encoders with post-norm layers share: the padding bias, and the layer of BERT and its kin."""

import re
from dataclasses import dataclass

import numpy as np

from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.families.blocks.linear import Projection
from convert.families.blocks.norm import NormWeights, skip_layer_norm
from convert.graph.builder import MICROSOFT

# Added to the attention scores of padding; float16 holds it, and exp() of it is 0 in both types.
MASKED = -10000.0
# Activations as configs name them -> the operator that adds a bias and applies it.
_BIASED_ACTIVATIONS = {"gelu": "BiasGelu", "gelu_new": "FastGelu", "gelu_pytorch_tanh": "FastGelu"}
ACTIVATIONS = (*_BIASED_ACTIVATIONS, "relu")


def padding_bias(context: BuildContext, mask: str, queries: str = "") -> str:
    """0 where the mask [batch, keys] is 1 and ``MASKED`` where it is 0, as [batch, 1, queries, keys].

    ``queries`` [batch, queries] are the tokens that attend; those of the mask when it is not given.

    mask - padding_row - Expand
    """
    graph, path = context.graph, "/attention_bias"
    bias = padding_row(context, mask)
    length = graph.node("Shape", [queries or mask], f"{path}/Shape", start=1, end=2)[0]
    one_one = graph.constant([1, 1], "/constants/one_one")
    one_shape = graph.constant([1], "/constants/axis_1")
    shape = graph.node("Concat", [one_one, length, one_shape], f"{path}/Concat", axis=0)[0]
    return graph.node("Expand", [bias, shape], f"{path}/Expand")[0]


def padding_row(context: BuildContext, mask: str) -> str:
    """The same as [batch, 1, 1, keys].

    mask - Unsqueeze - Cast - Sub(1, .) - Mul(MASKED)
    """
    graph, path = context.graph, "/attention_bias"
    axes = graph.constant([1, 2], "/constants/axes_1_2")
    wide = graph.node("Unsqueeze", [mask, axes], f"{path}/Unsqueeze")[0]
    flags = graph.node("Cast", [wide], f"{path}/Cast", to=context.float_type)[0]
    one = graph.constant(np.ones((), context.float_numpy), f"{path}/one")
    padding = graph.node("Sub", [one, flags], f"{path}/Sub")[0]
    low = graph.constant(np.full((), MASKED, context.float_numpy), f"{path}/masked")
    return graph.node("Mul", [padding, low], f"{path}/Mul")[0]


@dataclass(frozen=True)
class LayerNames:
    """What a family calls the modules of a layer, each relative to the layer."""

    query: str
    key: str
    value: str
    attended: str
    attended_norm: str
    widened: str
    narrowed: str
    narrowed_norm: str


BERT_LAYER = LayerNames(
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attended="attention.output.dense",
    attended_norm="attention.output.LayerNorm",
    widened="intermediate.dense",
    narrowed="output.dense",
    narrowed_norm="output.LayerNorm",
)


@dataclass(frozen=True)
class LayerShape:
    """Sizes and functions of a layer; ``activation`` is a name of ACTIVATIONS."""

    width: int
    inner: int
    heads: int
    activation: str
    epsilon: float

    @property
    def activation_width(self) -> int:
        """Elements alive per token inside the layer."""
        return 6 * self.width + 2 * self.inner

    def check(self, family: str) -> None:
        """Refuse what the layer does not compute."""
        if self.activation not in ACTIVATIONS:
            raise UnsupportedModel(
                f"{family} with the activation {self.activation!r} is not supported, only {', '.join(ACTIVATIONS)}"
            )
        if self.heads < 1 or self.width % self.heads:
            raise UnsupportedModel(f"{family} with a width of {self.width} cannot be split into {self.heads} heads")


class EncoderLayer:
    """The weights of one layer; a family that shares its parameters applies the same layer several times."""

    def __init__(self, context: BuildContext, shape: LayerShape, name: str, names: LayerNames) -> None:
        self.context, self.shape, self.names = context, shape, names
        width, inner = shape.width, shape.inner
        self.heads = [
            Projection(context, f"{name}.{part}", width, width) for part in (names.query, names.key, names.value)
        ]
        self.attended = Projection(context, f"{name}.{names.attended}", width, width)
        self.attended_norm = NormWeights(context, f"{name}.{names.attended_norm}", width)
        self.widened = Projection(context, f"{name}.{names.widened}", inner, width)
        self.narrowed = Projection(context, f"{name}.{names.narrowed}", width, inner)
        self.narrowed_norm = NormWeights(context, f"{name}.{names.narrowed_norm}", width)

    def apply(self, value: str, bias: str, path: str) -> str:
        """Attention, add & norm, feed-forward, add & norm: [batch, tokens, width] -> the same.

        value -+- linear + Add (q, k, v) - MultiHeadAttention(bias) - linear - SkipLayerNormalization -+-
               +---------------------------------------------------------------/                      |
        -+- linear - BiasGelu (FastGelu, Add + Relu) - linear - SkipLayerNormalization - result
         +------------------------------------------------------/
        """
        context, names, graph = self.context, self.names, self.context.graph
        heads = [
            projection.apply(value, f"{path}/{part}")
            for projection, part in zip(self.heads, (names.query, names.key, names.value), strict=True)
        ]
        attended = graph.node(
            "MultiHeadAttention",
            [*heads, "", "", bias],
            f"{path}/attention/MultiHeadAttention",
            domain=MICROSOFT,
            num_heads=self.shape.heads,
        )[0]
        value = skip_layer_norm(
            context,
            self.attended.multiply(attended, f"{path}/{names.attended}"),
            value,
            self.attended_norm.weight,
            self.attended_norm.bias,
            f"{path}/{names.attended_norm}",
            value_bias=self.attended.bias,
            epsilon=self.shape.epsilon,
        )
        active = biased_activation(context, self.widened, value, f"{path}/{names.widened}", self.shape.activation)
        return skip_layer_norm(
            context,
            self.narrowed.multiply(active, f"{path}/{names.narrowed}"),
            value,
            self.narrowed_norm.weight,
            self.narrowed_norm.bias,
            f"{path}/{names.narrowed_norm}",
            value_bias=self.narrowed.bias,
            epsilon=self.shape.epsilon,
        )


def refuse_unused_layers(context: BuildContext, name: str, ignored: str = "") -> None:
    """Hold config.json to every tensor of the module ``name``; what else a checkpoint has may be for other tasks.

    Raises:
        BadCheckpoint: a tensor below ``name`` is in no graph, such as that of a layer that config.json does not count.
    """
    context.refuse_leftovers(rf"(?!{re.escape(name)}\.).*|{re.escape(ignored)}|.*\.position_ids")


def biased_activation(context: BuildContext, projection: Projection, value: str, path: str, activation: str) -> str:
    """``activation(projection(value))``; the exact and the tanh form of GELU add the bias themselves."""
    graph = context.graph
    if activation == "relu":
        return graph.node("Relu", [projection.apply(value, path)], f"{path}/Relu")[0]
    operator = _BIASED_ACTIVATIONS[activation]
    product = projection.multiply(value, path)
    return graph.node(operator, [product, projection.bias], f"{path}/{operator}", domain=MICROSOFT)[0]
