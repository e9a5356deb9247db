"""Builds BERT encoders (Devlin et al. 2018): post-norm transformer layers with learned positions and segments."""

from dataclasses import dataclass

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.encoder import BERT_LAYER, EncoderLayer, LayerShape
from convert.families.family import Family, ModelFacts, read_config
from convert.families.text_encoder import TextEncoder


@dataclass(frozen=True)
class BertConfig:
    """Fields of a Hugging Face ``config.json`` with ``model_type: bert``."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"
    is_decoder: bool = False
    tie_word_embeddings: bool = True
    id2label: dict[str, str] | None = None

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        if self.position_embedding_type != "absolute":
            raise UnsupportedModel(
                f"bert with position_embedding_type={self.position_embedding_type!r} is not supported, only 'absolute'"
            )
        if self.is_decoder:
            raise UnsupportedModel("bert with is_decoder=true is not supported, only as an encoder")


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the encoder and the head of ``task``; inputs and outputs are those of `TextEncoder`."""
    config = read_config(BertConfig, context.checkpoint.config)
    config.check()
    width = config.hidden_size
    shape = LayerShape(
        width, config.intermediate_size, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    )
    segments = config.type_vocab_size
    encoder = TextEncoder(context, "bert", task, shape, vocab_size=config.vocab_size, width=width, segments=segments)
    value = encoder.embed(config.max_position_embeddings)
    for index in range(config.num_hidden_layers):
        layer = EncoderLayer(context, shape, f"{encoder.prefix}encoder.layer.{index}", BERT_LAYER)
        value = layer.apply(value, encoder.bias, f"/encoder/layer.{index}")
    head = heads.Heads(
        pool=lambda first: heads.pooler(context, first, f"{encoder.prefix}pooler.dense", width),
        classifier="classifier",
        mask=heads.MaskHead(
            dense="cls.predictions.transform.dense",
            norm="cls.predictions.transform.LayerNorm",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            tied=config.tie_word_embeddings,
            activation=config.hidden_act,
            epsilon=config.layer_norm_eps,
        ),
    )
    return encoder.finish(value, "encoder", config.max_position_embeddings, config.id2label, head)


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build, compact=True)
