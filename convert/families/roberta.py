"""Builds RoBERTa encoders (Liu et al. 2019): BERT's layers, positions that skip padding, no segments."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from convert.checkpoint.tensor import add, slice_rows
from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.encoder import BERT_LAYER, EncoderLayer, LayerShape
from convert.families.family import Family, ModelFacts, read_config
from convert.families.text_encoder import TextEncoder


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
    """Add the encoder and the head of ``task``; inputs and outputs are those of `TextEncoder`."""
    config = read_config(RobertaConfig, context.checkpoint.config)
    config.check()
    width = config.hidden_size
    shape = LayerShape(
        width, config.intermediate_size, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    )
    encoder = TextEncoder(context, "roberta", task, shape, vocab_size=config.vocab_size, width=width)
    table = encoder.tensor("position_embeddings", config.max_position_embeddings)
    segments = encoder.tensor("token_type_embeddings", config.type_vocab_size)
    # Every text is of segment 0, whose row is added to the positions.
    value = encoder.embed_at(
        add(table, slice_rows(segments, 0, 1)), _positions(context, encoder.ids, config.pad_token_id)
    )
    for index in range(config.num_hidden_layers):
        layer = EncoderLayer(context, shape, f"{encoder.prefix}encoder.layer.{index}", BERT_LAYER)
        value = layer.apply(value, encoder.bias, f"/encoder/layer.{index}")
    head = heads.Heads(
        pool=lambda first: heads.pooler(context, first, "classifier.dense", width),
        classifier="classifier.out_proj",
        mask=heads.MaskHead(
            dense="lm_head.dense",
            norm="lm_head.layer_norm",
            decoder="lm_head.decoder",
            bias="lm_head.bias",
            tied=config.tie_word_embeddings,
            activation="gelu",  # whatever the layers use, this head uses the exact GELU
            epsilon=config.layer_norm_eps,
        ),
    )
    return encoder.finish(value, "encoder", config.positions, config.id2label, head)


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


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build, compact=True)
