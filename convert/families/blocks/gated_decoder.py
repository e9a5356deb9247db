"""Builds the decoder that most families are: RMSNorm, rotary grouped-query attention, gated feed-forward."""

import math
from dataclasses import dataclass

import numpy as np

from convert.families.blocks.activation import activation
from convert.families.blocks.attention import Attending, Heads, attend, normalized_heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.decoder_inputs import Lengths, decoder_inputs, sequence_lengths
from convert.families.blocks.decoder_logits import declare_logits, decoder_logits
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.linear import projection
from convert.families.blocks.norm import rms_norm, skip_rms_norm, vector
from convert.families.blocks.rotary import Rotary, rotary_tables


@dataclass(frozen=True)
class Layer:
    """What may differ from layer to layer."""

    rotary: Rotary | None
    """None: no positions at all (NoPE, Kazemnejad et al. 2023)."""
    window: int | None = None
    """Positions that a token sees, itself included; None: all before it."""


@dataclass(frozen=True, kw_only=True)
class GatedDecoder:
    """The description of one decoder; the defaults are those of Llama (Touvron et al. 2023)."""

    hidden_size: int
    intermediate_size: int
    vocab_size: int
    context_length: int
    heads: Heads
    layers: tuple[Layer, ...]
    epsilon: float
    tied: bool
    activation: str = "silu"
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    """Queries and keys are normalized head by head, before they are rotated."""
    sandwich_norms: bool = False
    """The branches are also normalized before they are added to the residual."""
    norm_offset: float = 0.0
    """Added to the weights of all norms; Gemma stores them less 1."""
    scaled_embedding: bool = False
    """Embeddings are multiplied by sqrt(hidden_size)."""
    attention_scale: float | None = None
    attention_softcap: float | None = None
    logits_softcap: float | None = None


@dataclass(frozen=True)
class _Build:
    """The description and the values that every layer reads."""

    context: BuildContext
    decoder: GatedDecoder
    lengths: Lengths
    tables: dict[str, tuple[str, str]]
    """Cosine and sine, by the name of the rotation."""

    def norm_weight(self, name: str, size: int) -> str:
        return vector(self.context, f"{name}.weight", size, offset=self.decoder.norm_offset)


def build_gated_decoder(context: BuildContext, decoder: GatedDecoder) -> None:
    """Add the whole decoder, from ids to logits.

    Inputs: input_ids, attention_mask int64 [batch, sequence] and [batch, past + sequence]; num_logits_to_keep int64
    scalar (0 keeps all); past_key_values.N.key/value [batch, kv_heads, past, head_dim].
    Outputs: logits float32 [batch, kept, vocab]; present.N.key/value.
    """
    hidden = decoder.hidden_size
    rotations = {layer.rotary.name: layer.rotary for layer in decoder.layers if layer.rotary}
    decoder.heads.check([rotary.width for rotary in rotations.values()])
    inputs = decoder_inputs(context)
    declare_logits(context, decoder.vocab_size)
    table = EmbeddingTable(context, context.tensor("model.embed_tokens.weight", decoder.vocab_size, hidden))
    residual = table.lookup(inputs.ids, "/model/embed_tokens")
    if decoder.scaled_embedding:
        residual = _scaled(context, residual, hidden)
    lengths = sequence_lengths(context, inputs.mask)
    tables = {name: rotary_tables(context, rotary) for name, rotary in rotations.items()}
    build = _Build(context, decoder, lengths, tables)
    delta = ""
    for index in range(len(decoder.layers)):
        delta, residual = _layer(build, index, delta, residual)
    weight = build.norm_weight("model.norm", hidden)
    final, _ = skip_rms_norm(context, delta, residual, weight, "/model/norm", epsilon=decoder.epsilon)
    decoder_logits(context, final, inputs.kept, table, tied=decoder.tied, softcap=decoder.logits_softcap)


def _scaled(context: BuildContext, value: str, width: int) -> str:
    """``value * sqrt(width)``, the factor in the type of the activations, as transformers has it."""
    factor = np.array(math.sqrt(width), context.float_numpy)
    scale = context.graph.constant(factor, "/model/embed_scale/factor")
    return context.graph.node("Mul", [value, scale], "/model/embed_scale/Mul")[0]


def _layer(build: _Build, index: int, delta: str, residual: str) -> tuple[str, str]:
    """One block; ``delta`` is the branch that still has to be added to ``residual``.

    residual + delta -> norm -> attention [-> norm] -> (+) -> norm -> feed-forward [-> norm] -> the next delta
    """
    context, decoder = build.context, build.decoder
    name, path, hidden, epsilon = (
        f"model.layers.{index}",
        f"/model/layers.{index}",
        decoder.hidden_size,
        decoder.epsilon,
    )
    weight = build.norm_weight(f"{name}.input_layernorm", hidden)
    if delta:
        normalized, residual = skip_rms_norm(
            context, delta, residual, weight, f"{path}/input_layernorm", epsilon=epsilon
        )
    else:
        normalized = rms_norm(context, residual, weight, f"{path}/input_layernorm", epsilon=epsilon)
    attended = _attention(build, index, normalized)
    before_mlp = "post_attention_layernorm"
    if decoder.sandwich_norms:
        weight = build.norm_weight(f"{name}.post_attention_layernorm", hidden)
        attended = rms_norm(context, attended, weight, f"{path}/post_attention_layernorm", epsilon=epsilon)
        before_mlp = "pre_feedforward_layernorm"
    weight = build.norm_weight(f"{name}.{before_mlp}", hidden)
    normalized, residual = skip_rms_norm(context, attended, residual, weight, f"{path}/{before_mlp}", epsilon=epsilon)
    delta = _gated_mlp(build, normalized, name, path)
    if decoder.sandwich_norms:
        weight = build.norm_weight(f"{name}.post_feedforward_layernorm", hidden)
        delta = rms_norm(context, delta, weight, f"{path}/post_feedforward_layernorm", epsilon=epsilon)
    return delta, residual


def _attention(build: _Build, index: int, value: str) -> str:
    """Projections [-> QK-norm] -> GroupQueryAttention -> output projection."""
    context, decoder, layer, heads = build.context, build.decoder, build.decoder.layers[index], build.decoder.heads
    name, path, hidden = f"model.layers.{index}.self_attn", f"/model/layers.{index}/attn", decoder.hidden_size
    counts = {"q": heads.queries, "k": heads.pairs, "v": heads.pairs}
    projected = []
    for letter, count in counts.items():
        part = f"{letter}_proj"
        projected.append(
            projection(
                context, value, f"{name}.{part}", count * heads.size, hidden, f"{path}/{part}", bias=decoder.qkv_bias
            )
        )
    if decoder.qk_norm:
        for place, letter in enumerate("qk"):
            weight = build.norm_weight(f"{name}.{letter}_norm", heads.size)
            projected[place] = normalized_heads(
                context, projected[place], counts[letter], weight, f"{path}/{letter}_norm", heads, decoder.epsilon
            )
    attended = attend(
        context,
        heads,
        index,
        projected,
        build.lengths,
        build.tables[layer.rotary.name] if layer.rotary else None,
        Attending(layer.window, decoder.attention_scale, decoder.attention_softcap),
        path,
    )
    width = heads.queries * heads.size
    return projection(context, attended, f"{name}.o_proj", hidden, width, f"{path}/o_proj", bias=decoder.output_bias)


def _gated_mlp(build: _Build, value: str, name: str, path: str) -> str:
    """Gated feed-forward (Shazeer 2020).

    value --+-- gate_proj -- QuickGelu | FastGelu | Gelu --+-- Mul -- down_proj
            +-- up_proj -----------------------------------+
    """
    context, decoder = build.context, build.decoder
    hidden, inner = decoder.hidden_size, decoder.intermediate_size

    def project(source: str, part: str, out_width: int, in_width: int) -> str:
        return projection(
            context, source, f"{name}.mlp.{part}", out_width, in_width, f"{path}/mlp/{part}", bias=decoder.mlp_bias
        )

    gate, up = (project(value, part, inner, hidden) for part in ("gate_proj", "up_proj"))
    active = activation(context, gate, decoder.activation, f"{path}/mlp/act_fn")
    product = context.graph.node("Mul", [active, up], f"{path}/mlp/Mul")[0]
    return project(product, "down_proj", hidden, inner)
