"""Builds RoBERTa encoders (Liu et al. 2019): BERT's layers, positions that skip padding, no segments."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import add, slice_rows
from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.encoder import BERT_LAYER, EncoderLayer, LayerShape, padding_bias, refuse_unused_layers
from convert.families.blocks.encoder_embeddings import embed, token_input
from convert.families.family import Family, ModelFacts, read_config


@dataclass(frozen=True)
class RobertaConfig:
    """Fields of a Hugging Face ``config.json`` with ``model_type: roberta``."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 514
    type_vocab_size: int = 1
    pad_token_id: int = 1
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    position_embedding_type: str = "absolute"
    is_decoder: bool = False
    tie_word_embeddings: bool = True
    id2label: dict[str, str] | None = None

    @property
    def positions(self) -> int:
        """Longest text: the first real position is the one after ``pad_token_id``."""
        return self.max_position_embeddings - self.pad_token_id - 1

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        if self.position_embedding_type != "absolute":
            raise UnsupportedModel(
                f"roberta with position_embedding_type={self.position_embedding_type!r} is not supported, "
                "only 'absolute'"
            )
        if self.is_decoder:
            raise UnsupportedModel("roberta with is_decoder=true is not supported, only as an encoder")
        if self.positions < 1:
            raise UnsupportedModel(
                f"roberta with max_position_embeddings={self.max_position_embeddings} has no position after its "
                f"pad_token_id {self.pad_token_id}"
            )


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the encoder and the head of ``task``.

    Inputs: input_ids, attention_mask int64 [batch, tokens]. Outputs: those of `heads.add_head`.
    """
    config = read_config(RobertaConfig, context.checkpoint.config)
    config.check()
    width = config.hidden_size
    shape = LayerShape(
        width, config.intermediate_size, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    )
    shape.check("roberta")
    ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
    prefix = "" if context.has("embeddings.word_embeddings.weight") else "roberta."
    bias = padding_bias(context, mask)
    words = EmbeddingTable(
        context, context.tensor(f"{prefix}embeddings.word_embeddings.weight", config.vocab_size, width)
    )
    value = _embeddings(context, config, prefix, ids, words)
    for index in range(config.num_hidden_layers):
        layer = EncoderLayer(context, shape, f"{prefix}encoder.layer.{index}", BERT_LAYER)
        value = layer.apply(value, bias, f"/encoder/layer.{index}")
    labels = heads.add_head(context, task, value, width, config.id2label, _heads(context, config, words))
    refuse_unused_layers(context, f"{prefix}encoder")
    return ModelFacts(
        context_length=config.positions,
        vocab_size=config.vocab_size,
        activation_width=shape.activation_width,
        labels=labels,
    )


def _embeddings(context: BuildContext, config: RobertaConfig, prefix: str, ids: str, words: EmbeddingTable) -> str:
    """Words and positions; every text is of segment 0, whose row is added to the positions."""
    name, width = f"{prefix}embeddings", config.hidden_size
    table = context.tensor(f"{name}.position_embeddings.weight", config.max_position_embeddings, width)
    segments = context.tensor(f"{name}.token_type_embeddings.weight", config.type_vocab_size, width)
    places = _positions(context, ids, config.pad_token_id)
    positions = add(table, slice_rows(segments, 0, 1))
    return embed(context, name, words, ids, positions, places, epsilon=config.layer_norm_eps)


def _positions(context: BuildContext, ids: str, pad: int) -> str:
    """Padding has the position ``pad``, other tokens are counted from ``pad + 1`` on: int64 [batch, tokens].

    ids - Equal(pad) - Not - Cast -+- CumSum(axis 1) - Mul - Add(pad)
                                   +--------------------/
    """
    graph, path = context.graph, "/embeddings/positions"
    padding = graph.constant(np.array(pad, np.int64), f"{path}/pad")
    same = graph.node("Equal", [ids, padding], f"{path}/Equal")[0]
    other = graph.node("Not", [same], f"{path}/Not")[0]
    real = graph.node("Cast", [other], f"{path}/Cast", to=TensorProto.INT64)[0]
    counted = graph.node("CumSum", [real, graph.constant(1, "/constants/one")], f"{path}/CumSum")[0]
    masked = graph.node("Mul", [counted, real], f"{path}/Mul")[0]
    return graph.node("Add", [masked, padding], f"{path}/Add")[0]


def _heads(context: BuildContext, config: RobertaConfig, words: EmbeddingTable) -> heads.Heads:
    def pool(first: str) -> str:
        return heads.pooler(context, first, "classifier.dense", config.hidden_size)

    def fill(value: str) -> str:
        names = heads.MaskHead(
            dense="lm_head.dense",
            norm="lm_head.layer_norm",
            decoder="lm_head.decoder",
            bias="lm_head.bias",
            tied=config.tie_word_embeddings,
        )
        # Whatever the layers use, this head uses the exact GELU.
        return heads.mask_logits(context, value, config.hidden_size, words, names, "gelu", config.layer_norm_eps)

    return heads.Heads(pool, "classifier.out_proj", fill)


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build)
