"""Builds BART encoder-decoders (Lewis et al. 2019): post-norm layers with learned positions on both sides."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import slice_rows
from convert.dtypes import Dtype
from convert.families.blocks.context import BuildContext
from convert.families.blocks.distance_bias import causal_bias, length_of, positions
from convert.families.blocks.embedding import EmbeddingTable, logits_float32, output_head
from convert.families.blocks.encoder import (
    EncoderLayer,
    LayerNames,
    LayerShape,
    biased_activation,
    padding_bias,
    refuse_unused_layers,
)
from convert.families.blocks.encoder_embeddings import row_of_positions, token_input
from convert.families.blocks.heads import hidden_states
from convert.families.blocks.linear import Projection
from convert.families.blocks.multi_head_attention import (
    HeadShape,
    attend_cached,
    attend_encoder,
    declare_cache,
    encoder_states,
    unseen_states,
)
from convert.families.blocks.norm import NormWeights, layer_norm, skip_layer_norm
from convert.families.blocks.tying import check_tied
from convert.families.family import Family, ModelFacts, read_config
from convert.kv_cache import KvCache
from convert.quantize.dense import dense_parts

EPSILON = 1e-5
RESERVED_POSITIONS = 2
"""Rows at the start of a position table that the original keeps for padding."""
LOGITS_BIAS = "final_logits_bias"
QUERY, KEY, VALUE, OUTPUT = "q_proj", "k_proj", "v_proj", "out_proj"
NAMES = LayerNames(
    query=f"self_attn.{QUERY}",
    key=f"self_attn.{KEY}",
    value=f"self_attn.{VALUE}",
    attended=f"self_attn.{OUTPUT}",
    attended_norm="self_attn_layer_norm",
    widened="fc1",
    narrowed="fc2",
    narrowed_norm="final_layer_norm",
)


@dataclass(frozen=True)
class BartConfig:
    """Fields of a Hugging Face ``config.json`` with ``model_type: bart``."""

    vocab_size: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    encoder_attention_heads: int
    decoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_ffn_dim: int
    max_position_embeddings: int = 1024
    activation_function: str = "gelu"
    scale_embedding: bool = False
    tie_word_embeddings: bool = True

    @property
    def encoder(self) -> LayerShape:
        """Of the encoder's layers."""
        return LayerShape(
            self.d_model, self.encoder_ffn_dim, self.encoder_attention_heads, self.activation_function, EPSILON
        )

    @property
    def decoder(self) -> LayerShape:
        """Of the decoder's layers."""
        return LayerShape(
            self.d_model, self.decoder_ffn_dim, self.decoder_attention_heads, self.activation_function, EPSILON
        )

    @property
    def heads(self) -> HeadShape:
        """Of the decoder's attention, over its own tokens and over the encoder's."""
        count = self.decoder_attention_heads
        return HeadShape(self.d_model, count, self.d_model // count, biased=True, names=(QUERY, KEY, VALUE))

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        self.encoder.check("bart")
        self.decoder.check("bart")


def build_encoder(context: BuildContext, task: str) -> ModelFacts:
    """Inputs: input_ids, attention_mask int64 [batch, tokens]. Output: last_hidden_state [batch, tokens, d_model]."""
    config = read_config(BartConfig, context.checkpoint.config)
    config.check()
    prefix = _prefix(context)
    ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
    table = _table(context, config, prefix)
    bias = padding_bias(context, mask)
    places = row_of_positions(context, ids)
    value = _embed(context, config, f"{prefix}encoder", table, ids, places)
    for index in range(config.encoder_layers):
        layer = EncoderLayer(context, config.encoder, f"{prefix}encoder.layers.{index}", NAMES)
        value = layer.apply(value, bias, f"/encoder/layers.{index}")
    hidden_states(context, value, config.d_model)
    refuse_unused_layers(context, f"{prefix}encoder.layers")
    return _facts(config)


def build_decoder(context: BuildContext, task: str) -> ModelFacts:
    """Add the decoder, and its output head.

    Inputs: input_ids int64 [batch, new], encoder_attention_mask int64 [batch, tokens], encoder_hidden_states float32
    [batch, tokens, d_model] and the cache. Outputs: logits float32 [batch, new, vocab] and the cache, which grew.
    """
    config = read_config(BartConfig, context.checkpoint.config)
    config.check()
    graph, prefix = context.graph, _prefix(context)
    ids, mask, states = encoder_states(context, config.d_model)
    graph.output("logits", TensorProto.FLOAT, ["batch_size", "sequence_length", config.vocab_size])
    declare_cache(context, config.heads, config.decoder_layers)
    table = _table(context, config, prefix)
    start = length_of(graph, "past_key_values.0.decoder.key", 2, "/positions/start")
    added = length_of(graph, ids, 1, "/positions/added")
    stop = graph.node("Add", [start, added], "/positions/Add")[0]
    queries = positions(graph, start, stop, "/positions/queries")
    keys = positions(graph, graph.constant(0, "/constants/zero"), stop, "/positions/keys")
    places = graph.node("Unsqueeze", [queries, graph.constant([0], "/constants/axis_0")], "/positions/Unsqueeze")[0]
    value = _embed(context, config, f"{prefix}decoder", table, ids, places)
    own_bias = causal_bias(context, queries, keys)
    cross_bias = padding_bias(context, mask, queries=ids)
    unseen = unseen_states(context, states)
    for index in range(config.decoder_layers):
        name, path = f"{prefix}decoder.layers.{index}", f"/decoder/layers.{index}"
        own, cross = f"{path}/self_attn", f"{path}/encoder_attn"
        attended = attend_cached(context, config.heads, f"{name}.self_attn", value, own_bias, index, own)
        value = _add_norm(context, config, f"{name}.self_attn", attended, value, path)
        crossed = attend_encoder(context, config.heads, f"{name}.encoder_attn", value, unseen, cross_bias, index, cross)
        value = _add_norm(context, config, f"{name}.encoder_attn", crossed, value, path)
        value = _feed_forward(context, config, name, value, path)
    graph.append("Identity", [_logits(context, config, prefix, table, value)], ["logits"], "/logits/Identity")
    refuse_unused_layers(context, f"{prefix}decoder.layers")
    return _facts(config)


def _facts(config: BartConfig) -> ModelFacts:
    return ModelFacts(
        context_length=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        activation_width=max(config.encoder.activation_width, config.decoder.activation_width),
        kv_cache=KvCache(config.decoder_layers, config.heads.heads, config.heads.head_dim),
    )


def _prefix(context: BuildContext) -> str:
    return "" if context.has("shared.weight") else "model."


def _table(context: BuildContext, config: BartConfig, prefix: str) -> EmbeddingTable:
    return EmbeddingTable(context, context.tensor(f"{prefix}shared.weight", config.vocab_size, config.d_model))


def _embed(context: BuildContext, config: BartConfig, name: str, table: EmbeddingTable, ids: str, places: str) -> str:
    """Words, scaled if the config says so, + positions, normalized; ``places`` are positions [1, tokens] from 0 on."""
    graph, path, width = context.graph, "/embeddings", config.d_model
    words = table.lookup(ids, f"{path}/shared")
    if config.scale_embedding:
        factor = graph.constant(np.array(width**0.5, context.float_numpy), f"{path}/factor")
        words = graph.node("Mul", [words, factor], f"{path}/Mul")[0]
    rows = config.max_position_embeddings + RESERVED_POSITIONS
    stored = context.tensor(f"{name}.embed_positions.weight", rows, width)
    learned = EmbeddingTable(context, slice_rows(stored, RESERVED_POSITIONS, rows))
    total = graph.node("Add", [words, learned.lookup(places, f"{path}/embed_positions")], f"{path}/Add")[0]
    norm = NormWeights(context, f"{name}.layernorm_embedding", width)
    return layer_norm(context, total, norm.weight, norm.bias, f"{path}/layernorm_embedding", epsilon=EPSILON)


def _add_norm(context: BuildContext, config: BartConfig, name: str, attended: str, value: str, path: str) -> str:
    """LayerNorm of ``value`` + the output projection of the attention ``name``."""
    part = name.rpartition(".")[2]
    output = Projection(context, f"{name}.{OUTPUT}", config.d_model, config.d_model)
    return _skip_norm(context, config, output, attended, value, f"{name}_layer_norm", f"{path}/{part}")


def _feed_forward(context: BuildContext, config: BartConfig, name: str, value: str, path: str) -> str:
    widened = Projection(context, f"{name}.fc1", config.decoder_ffn_dim, config.d_model)
    narrowed = Projection(context, f"{name}.fc2", config.d_model, config.decoder_ffn_dim)
    active = biased_activation(context, widened, value, f"{path}/fc1", config.activation_function)
    return _skip_norm(context, config, narrowed, active, value, f"{name}.final_layer_norm", f"{path}/fc2")


def _skip_norm(
    context: BuildContext, config: BartConfig, output: Projection, value: str, skip: str, name: str, path: str
) -> str:
    norm = NormWeights(context, name, config.d_model)
    product = output.multiply(value, f"{path}/out")
    return skip_layer_norm(
        context, product, skip, norm.weight, norm.bias, f"{path}/norm", value_bias=output.bias, epsilon=EPSILON
    )


def _logits(context: BuildContext, config: BartConfig, prefix: str, table: EmbeddingTable, value: str) -> str:
    """The table again, or a head of its own, and a bias per word where the checkpoint has one."""
    name = "lm_head.weight"
    if config.tie_word_embeddings:
        check_tied(context, table.tensor, name)
        logits = logits_float32(context, table.project(value, "/lm_head"), "/lm_head")
    else:
        logits = output_head(context, value, context.tensor(name, table.rows, table.width), "/lm_head")
    if not context.has(LOGITS_BIAS):
        return logits
    parts = dense_parts(context.tensor(LOGITS_BIAS, 1, config.vocab_size), float16=False)
    return context.graph.node("Add", [logits, context.graph.initializer_parts(parts, LOGITS_BIAS)], "/lm_head/Add")[0]


FAMILY = Family(
    tasks=("text2text-generation",),
    default_dtypes=(Dtype.Q8,),
    build=build_encoder,
    build_decoder=build_decoder,
)
