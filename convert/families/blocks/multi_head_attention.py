"""Owns attention in encoder-decoders: over a text's own tokens, with or without a cache, and over the encoder's."""

from dataclasses import dataclass

from onnx import TensorProto

from convert.families.blocks.context import BuildContext
from convert.families.blocks.encoder_embeddings import token_input
from convert.families.blocks.linear import projection
from convert.graph.builder import MICROSOFT

PAST, PRESENT = "past_key_values", "present"


@dataclass(frozen=True)
class HeadShape:
    """Sizes of an attention, and what its family calls the modules.

    ``scale`` multiplies the scores; None stands for ``head_dim ** -0.5``.
    """

    width: int
    heads: int
    head_dim: int
    biased: bool
    names: tuple[str, str, str]
    """Of query, key and value."""
    scale: float | None = None

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim


def attend(context: BuildContext, shape: HeadShape, name: str, value: str, bias: str, path: str) -> str:
    """Each token over all: [batch, tokens, width] -> [batch, tokens, inner].

    value - linear [+ Add] (q, k, v) - MultiHeadAttention(bias)
    """
    heads = [_project(context, shape, name, part, value, path) for part in range(3)]
    return _multi_head_attention(context, shape, [*heads, "", "", bias], [], path)


def attend_cached(
    context: BuildContext, shape: HeadShape, name: str, value: str, bias: str, layer: int, path: str
) -> str:
    """New tokens over the cached ones and themselves, as far as ``bias`` [1, heads or 1, new, all] lets them.

    value - linear [+ Add] (q, k, v) - MultiHeadAttention(bias, past.N.decoder) - present.N.decoder
    """
    heads = [_project(context, shape, name, part, value, path) for part in range(3)]
    past, present = _cache(context, shape, layer, "decoder")
    return _multi_head_attention(context, shape, [*heads, "", "", bias, *past], present, path)


def attend_encoder(
    context: BuildContext, shape: HeadShape, name: str, value: str, unseen: str, bias: str, layer: int, path: str
) -> str:
    """New tokens over the encoder's, whose keys and values are computed once and then cached.

    ``unseen`` are the hidden states [batch, tokens, width] that the cache does not hold: all in the first run, none
    afterwards, as `unseen_states` gives them.

    unseen - linear [+ Add] (k, v) - Reshape - Transpose - Concat(past.N.encoder, .) -+- present.N.encoder
    value  - linear [+ Add] (q) - MultiHeadAttention(bias) ---------------------------+
    """
    graph = context.graph
    query = _project(context, shape, name, 0, value, path)
    split = graph.constant([0, 0, shape.heads, shape.head_dim], f"/constants/heads_{shape.heads}x{shape.head_dim}")
    past, present = _cache(context, shape, layer, "encoder")
    for part, old, new in zip((1, 2), past, present, strict=True):
        place = f"{path}/{shape.names[part]}"
        rows = _project(context, shape, name, part, unseen, path)
        heads = graph.node("Reshape", [rows, split], f"{place}/Reshape")[0]
        turned = graph.node("Transpose", [heads], f"{place}/Transpose", perm=[0, 2, 1, 3])[0]
        graph.append("Concat", [old, turned], [new], f"{place}/Concat", axis=2)
    return _multi_head_attention(context, shape, [query, *present, "", "", bias], [], path)


def encoder_states(context: BuildContext, width: int) -> tuple[str, str, str]:
    """What a decoder is given beside its cache: input_ids, encoder_attention_mask, encoder_hidden_states.

    The states are float32 outside of the graph, whatever the activations are.
    """
    graph = context.graph
    ids = token_input(context, "input_ids")
    lead = ["batch_size", "encoder_sequence_length"]
    mask = graph.input("encoder_attention_mask", TensorProto.INT64, lead)
    states = graph.input("encoder_hidden_states", TensorProto.FLOAT, [*lead, width])
    if context.dtype.float16:
        states = graph.node("Cast", [states], "/encoder_hidden_states/Cast", to=TensorProto.FLOAT16)[0]
    return ids, mask, states


def unseen_states(context: BuildContext, states: str) -> str:
    """The encoder's hidden states behind those whose keys the cache holds: states - Slice(past length, axis 1)."""
    graph, path = context.graph, "/unseen_states"
    seen = graph.node("Shape", [f"{PAST}.0.encoder.key"], f"{path}/Shape", start=2, end=3)[0]
    end = graph.constant([(1 << 63) - 1], "/constants/int64_max")
    axis = graph.constant([1], "/constants/axis_1")
    return graph.node("Slice", [states, seen, end, axis], f"{path}/Slice")[0]


def declare_cache(context: BuildContext, shape: HeadShape, layers: int) -> None:
    """Inputs past_key_values.N.PART.key|value and outputs present.N.PART.key|value: [batch, heads, tokens, head_dim].

    Two parts a layer, by the names that Transformers.js gives them: "decoder" grows by every token, "encoder" is
    complete after the first run.
    """
    graph = context.graph
    for name, declare, length in ((PAST, graph.input, "past_"), (PRESENT, graph.output, "")):
        for layer in range(layers):
            for part in ("decoder", "encoder"):
                for item in ("key", "value"):
                    sizes: list[str | int] = [
                        "batch_size",
                        shape.heads,
                        f"{length}{part}_sequence_length",
                        shape.head_dim,
                    ]
                    declare(f"{name}.{layer}.{part}.{item}", context.float_type, sizes)


def _cache(context: BuildContext, shape: HeadShape, layer: int, part: str) -> tuple[list[str], list[str]]:
    past, present = ([f"{name}.{layer}.{part}.{item}" for item in ("key", "value")] for name in (PAST, PRESENT))
    return past, present


def _project(context: BuildContext, shape: HeadShape, name: str, part: int, value: str, path: str) -> str:
    module = shape.names[part]
    return projection(
        context, value, f"{name}.{module}", shape.inner, shape.width, f"{path}/{module}", bias=shape.biased
    )


def _multi_head_attention(
    context: BuildContext, shape: HeadShape, inputs: list[str], present: list[str], path: str
) -> str:
    output = f"{path}/MultiHeadAttention/output_0"
    attributes: dict[str, int | float] = {"num_heads": shape.heads}
    if shape.scale is not None:
        attributes["scale"] = shape.scale
    context.graph.append(
        "MultiHeadAttention",
        inputs,
        [output, *present],
        f"{path}/MultiHeadAttention",
        domain=MICROSOFT,
        **attributes,
    )
    return output
