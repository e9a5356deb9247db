"""Builds T5 encoder-decoders (Raffel et al. 2020; 1.1 too): pre-norm layers that know positions by distance alone."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks.activation import activation
from convert.families.blocks.context import BuildContext
from convert.families.blocks.distance_bias import length_of, positions, relative_bias
from convert.families.blocks.embedding import EmbeddingTable, logits_float32, output_head
from convert.families.blocks.encoder import padding_bias, padding_row, refuse_unused_layers
from convert.families.blocks.encoder_embeddings import token_input
from convert.families.blocks.heads import hidden_states
from convert.families.blocks.linear import projection
from convert.families.blocks.multi_head_attention import (
    HeadShape,
    attend,
    attend_cached,
    attend_encoder,
    declare_cache,
    encoder_states,
    unseen_states,
)
from convert.families.blocks.norm import rms_norm, skip_rms_norm, vector
from convert.families.blocks.tying import check_tied
from convert.families.family import Family, ModelFacts, read_config
from convert.kv_cache import KvCache

FEED_FORWARDS = {"relu": "relu", "gated-gelu": "gelu_new", "gated-silu": "silu"}
LARGEST_HALF = 64504.0
"""A little below what float16 holds."""
TABLE, HEAD = "shared.weight", "lm_head.weight"


@dataclass(frozen=True)
class T5Config:
    """Fields of a Hugging Face ``config.json`` with ``model_type: t5``."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    num_decoder_layers: int | None = None
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"
    tie_word_embeddings: bool = True
    n_positions: int = 512

    @property
    def decoder_layers(self) -> int:
        """As many as the encoder has, unless told."""
        return self.num_decoder_layers or self.num_layers

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layers have a gate (1.1)."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def heads(self) -> HeadShape:
        """Scores are not scaled: the original's initialization takes that up."""
        return HeadShape(self.d_model, self.num_heads, self.d_kv, biased=False, names=("q", "k", "v"), scale=1.0)

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        if self.feed_forward_proj not in FEED_FORWARDS:
            raise UnsupportedModel(
                f"t5 with feed_forward_proj={self.feed_forward_proj!r} is not supported, "
                f"only {', '.join(FEED_FORWARDS)}"
            )
        if self.relative_attention_num_buckets < 4 or self.relative_attention_max_distance < 4:
            raise UnsupportedModel("t5 with fewer than 4 buckets or distances of relative attention is not supported")


def build_encoder(context: BuildContext, task: str) -> ModelFacts:
    """Inputs: input_ids, attention_mask int64 [batch, tokens]. Output: last_hidden_state [batch, tokens, d_model]."""
    config = read_config(T5Config, context.checkpoint.config)
    config.check()
    graph = context.graph
    ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
    table = EmbeddingTable(context, context.tensor(TABLE, config.vocab_size, config.d_model))
    stop = length_of(graph, ids, 1, "/positions/stop")
    row = positions(graph, graph.constant(0, "/constants/zero"), stop, "/positions")
    distances = _relative_bias(context, config, "encoder", row, row, causal=False)
    bias = graph.node("Add", [distances, padding_row(context, mask)], "/attention_bias/Add")[0]
    residual, delta = table.lookup(ids, "/shared"), ""
    for index in range(config.num_layers):
        name, path = f"encoder.block.{index}", f"/encoder/block.{index}"
        normal, residual = _norm(context, config, f"{name}.layer.0.layer_norm", residual, delta)
        attended = attend(context, config.heads, f"{name}.layer.0.SelfAttention", normal, bias, f"{path}/attention")
        delta = _output_projection(context, config, f"{name}.layer.0.SelfAttention", attended, f"{path}/attention")
        normal, residual = _norm(context, config, f"{name}.layer.1.layer_norm", residual, delta)
        delta = _feed_forward(context, config, f"{name}.layer.1.DenseReluDense", normal, f"{path}/feed_forward")
    final, _ = _norm(context, config, "encoder.final_layer_norm", residual, delta)
    hidden_states(context, final, config.d_model)
    refuse_unused_layers(context, "encoder.block")
    return _facts(config)


def build_decoder(context: BuildContext, task: str) -> ModelFacts:
    """Add the decoder, and its output head.

    Inputs: input_ids int64 [batch, new], encoder_attention_mask int64 [batch, tokens], encoder_hidden_states float32
    [batch, tokens, d_model] and the cache. Outputs: logits float32 [batch, new, vocab] and the cache, which grew.
    """
    config = read_config(T5Config, context.checkpoint.config)
    config.check()
    graph = context.graph
    ids, mask, states = encoder_states(context, config.d_model)
    graph.output("logits", TensorProto.FLOAT, ["batch_size", "sequence_length", config.vocab_size])
    declare_cache(context, config.heads, config.decoder_layers)
    table = EmbeddingTable(context, context.tensor(TABLE, config.vocab_size, config.d_model))
    start = length_of(graph, "past_key_values.0.decoder.key", 2, "/positions/start")
    added = length_of(graph, ids, 1, "/positions/added")
    stop = graph.node("Add", [start, added], "/positions/Add")[0]
    queries = positions(graph, start, stop, "/positions/queries")
    keys = positions(graph, graph.constant(0, "/constants/zero"), stop, "/positions/keys")
    own_bias = _relative_bias(context, config, "decoder", queries, keys, causal=True)
    cross_bias = padding_bias(context, mask, queries=ids)
    unseen = unseen_states(context, states)
    residual, delta = table.lookup(ids, "/shared"), ""
    for index in range(config.decoder_layers):
        name, path = f"decoder.block.{index}", f"/decoder/block.{index}"
        own, cross = f"{name}.layer.0.SelfAttention", f"{name}.layer.1.EncDecAttention"
        normal, residual = _norm(context, config, f"{name}.layer.0.layer_norm", residual, delta)
        attended = attend_cached(context, config.heads, own, normal, own_bias, index, f"{path}/attention")
        delta = _output_projection(context, config, own, attended, f"{path}/attention")
        normal, residual = _norm(context, config, f"{name}.layer.1.layer_norm", residual, delta)
        crossed = attend_encoder(context, config.heads, cross, normal, unseen, cross_bias, index, f"{path}/cross")
        delta = _output_projection(context, config, cross, crossed, f"{path}/cross")
        normal, residual = _norm(context, config, f"{name}.layer.2.layer_norm", residual, delta)
        delta = _feed_forward(context, config, f"{name}.layer.2.DenseReluDense", normal, f"{path}/feed_forward")
    final, _ = _norm(context, config, "decoder.final_layer_norm", residual, delta)
    graph.append("Identity", [_logits(context, config, table, final)], ["logits"], "/logits/Identity")
    # The original has this table and never reads it.
    refuse_unused_layers(
        context, "decoder.block", "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    )
    return _facts(config)


def _facts(config: T5Config) -> ModelFacts:
    return ModelFacts(
        context_length=config.n_positions,
        vocab_size=config.vocab_size,
        activation_width=4 * config.d_model + 4 * config.heads.inner + 3 * config.d_ff,
        kv_cache=KvCache(config.decoder_layers, config.num_heads, config.d_kv),
    )


def _relative_bias(context: BuildContext, config: T5Config, part: str, queries: str, keys: str, *, causal: bool) -> str:
    """The bias that all layers of one half share; its table is stored in the first."""
    return relative_bias(
        context,
        f"{part}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        queries,
        keys,
        heads=config.num_heads,
        buckets=config.relative_attention_num_buckets,
        max_distance=config.relative_attention_max_distance,
        causal=causal,
    )


def _norm(context: BuildContext, config: T5Config, name: str, residual: str, delta: str) -> tuple[str, str]:
    """RMSNorm of ``residual + delta``; returns (normalized, the sum).

    The sums of trained models outgrow float16; there they are clipped, as the original does.
    """
    weight, path = vector(context, f"{name}.weight", config.d_model), f"/{name}"
    if delta and context.dtype.float16:
        graph = context.graph
        bounds = [
            graph.constant(np.array(sign * LARGEST_HALF, np.float16), f"/constants/half_{sign}") for sign in (-1, 1)
        ]
        total = graph.node("Add", [residual, delta], f"{path}/Add")[0]
        residual, delta = graph.node("Clip", [total, *bounds], f"{path}/Clip")[0], ""
    if not delta:
        return rms_norm(context, residual, weight, path, epsilon=config.layer_norm_epsilon), residual
    return skip_rms_norm(context, delta, residual, weight, path, epsilon=config.layer_norm_epsilon)


def _output_projection(context: BuildContext, config: T5Config, name: str, attended: str, path: str) -> str:
    return projection(context, attended, f"{name}.o", config.d_model, config.heads.inner, f"{path}/o")


def _feed_forward(context: BuildContext, config: T5Config, name: str, value: str, path: str) -> str:
    """``wo(relu(wi(value)))``, or with a gate ``wo(gelu(wi_0(value)) * wi_1(value))``."""
    graph, width, inner = context.graph, config.d_model, config.d_ff
    if config.gated:
        gate, up = (
            projection(context, value, f"{name}.{part}", inner, width, f"{path}/{part}") for part in ("wi_0", "wi_1")
        )
        active = activation(context, gate, FEED_FORWARDS[config.feed_forward_proj], f"{path}/act")
        widened = graph.node("Mul", [active, up], f"{path}/Mul")[0]
    else:
        widened = graph.node(
            "Relu", [projection(context, value, f"{name}.wi", inner, width, f"{path}/wi")], f"{path}/Relu"
        )[0]
    return projection(context, widened, f"{name}.wo", width, inner, f"{path}/wo")


def _logits(context: BuildContext, config: T5Config, table: EmbeddingTable, value: str) -> str:
    """A head of its own (1.1), or the table again over states that are scaled down."""
    if not config.tie_word_embeddings:
        return output_head(context, value, context.tensor(HEAD, config.vocab_size, config.d_model), "/lm_head")
    check_tied(context, table.tensor, HEAD)
    factor = context.graph.constant(np.array(config.d_model**-0.5, context.float_numpy), "/lm_head/factor")
    scaled = context.graph.node("Mul", [value, factor], "/lm_head/Mul")[0]
    return logits_float32(context, table.project(scaled, "/lm_head"), "/lm_head")


FAMILY = Family(
    tasks=("text2text-generation",),
    default_dtypes=(Dtype.Q8,),
    build=build_encoder,
    build_decoder=build_decoder,
)
