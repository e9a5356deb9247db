"""Builds BERT encoders (Devlin et al. 2018): post-norm transformer layers with learned positions and segments."""

from dataclasses import dataclass

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.encoder import BERT_LAYER, EncoderLayer, LayerShape, padding_bias, refuse_unused_layers
from convert.families.blocks.encoder_embeddings import embed, row_of_positions, token_input
from convert.families.family import Family, ModelFacts, read_config


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
    """Add the encoder and the head of ``task``.

    Inputs: input_ids, attention_mask, token_type_ids int64 [batch, tokens]. Outputs: those of `heads.add_head`.
    """
    config = read_config(BertConfig, context.checkpoint.config)
    config.check()
    width = config.hidden_size
    shape = LayerShape(
        width, config.intermediate_size, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    )
    shape.check("bert")
    ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
    types = token_input(context, "token_type_ids")
    prefix = "" if context.has("embeddings.word_embeddings.weight") else "bert."
    bias = padding_bias(context, mask)
    words = EmbeddingTable(
        context, context.tensor(f"{prefix}embeddings.word_embeddings.weight", config.vocab_size, width)
    )
    value = _embeddings(context, config, prefix, ids, types, words)
    for index in range(config.num_hidden_layers):
        layer = EncoderLayer(context, shape, f"{prefix}encoder.layer.{index}", BERT_LAYER)
        value = layer.apply(value, bias, f"/encoder/layer.{index}")
    labels = heads.add_head(context, task, value, width, config.id2label, _heads(context, config, prefix, words))
    refuse_unused_layers(context, f"{prefix}encoder")
    return ModelFacts(
        context_length=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        activation_width=shape.activation_width,
        labels=labels,
    )


def _embeddings(
    context: BuildContext, config: BertConfig, prefix: str, ids: str, types: str, words: EmbeddingTable
) -> str:
    """Words, positions and segments."""
    name = f"{prefix}embeddings"
    positions = context.tensor(f"{name}.position_embeddings.weight", config.max_position_embeddings, words.width)
    places = row_of_positions(context, ids)
    return embed(
        context,
        name,
        words,
        ids,
        positions,
        places,
        epsilon=config.layer_norm_eps,
        types=types,
        type_count=config.type_vocab_size,
    )


def _heads(context: BuildContext, config: BertConfig, prefix: str, words: EmbeddingTable) -> heads.Heads:
    def pool(first: str) -> str:
        return heads.pooler(context, first, f"{prefix}pooler.dense", config.hidden_size)

    def fill(value: str) -> str:
        names = heads.MaskHead(
            dense="cls.predictions.transform.dense",
            norm="cls.predictions.transform.LayerNorm",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            tied=config.tie_word_embeddings,
        )
        return heads.mask_logits(
            context, value, config.hidden_size, words, names, config.hidden_act, config.layer_norm_eps
        )

    return heads.Heads(pool, "classifier", fill)


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build)
