"""Builds ALBERT encoders (Lan et al. 2020): narrow embeddings, and few layers that are applied many times."""

from dataclasses import dataclass

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.encoder import EncoderLayer, LayerNames, LayerShape, padding_bias, refuse_unused_layers
from convert.families.blocks.encoder_embeddings import embed, row_of_positions, token_input
from convert.families.blocks.linear import Projection
from convert.families.family import Family, ModelFacts, read_config

NAMES = LayerNames(
    query="attention.query",
    key="attention.key",
    value="attention.value",
    attended="attention.dense",
    attended_norm="attention.LayerNorm",
    widened="ffn",
    narrowed="ffn_output",
    narrowed_norm="full_layer_layer_norm",
)


@dataclass(frozen=True)
class AlbertConfig:
    """Fields of a Hugging Face ``config.json`` with ``model_type: albert``."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu_new"
    layer_norm_eps: float = 1e-12
    position_embedding_type: str = "absolute"
    tie_word_embeddings: bool = True
    id2label: dict[str, str] | None = None

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        if self.position_embedding_type != "absolute":
            raise UnsupportedModel(
                f"albert with position_embedding_type={self.position_embedding_type!r} is not supported, "
                "only 'absolute'"
            )
        if not 1 <= self.num_hidden_groups <= self.num_hidden_layers:
            raise UnsupportedModel(
                f"albert with {self.num_hidden_groups} groups of layers cannot fill {self.num_hidden_layers} layers"
            )

    def group_of(self, layer: int) -> int:
        """The group whose weights a layer uses: each serves as many layers in a row."""
        return layer * self.num_hidden_groups // self.num_hidden_layers


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the encoder and the head of ``task``; the weights of a group are stored once.

    Inputs: input_ids, attention_mask, token_type_ids int64 [batch, tokens]. Outputs: those of `heads.add_head`.
    """
    config = read_config(AlbertConfig, context.checkpoint.config)
    config.check()
    shape = LayerShape(
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.hidden_act,
        config.layer_norm_eps,
    )
    shape.check("albert")
    ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
    types = token_input(context, "token_type_ids")
    prefix = "" if context.has("embeddings.word_embeddings.weight") else "albert."
    bias = padding_bias(context, mask)
    words = EmbeddingTable(
        context,
        context.tensor(f"{prefix}embeddings.word_embeddings.weight", config.vocab_size, config.embedding_size),
    )
    value = _embeddings(context, config, prefix, ids, types, words)
    groups = _groups(context, config, shape, f"{prefix}encoder")
    for index in range(config.num_hidden_layers):
        for inner, layer in enumerate(groups[config.group_of(index)]):
            value = layer.apply(value, bias, f"/encoder/layer.{index}.{inner}")
    labels = heads.add_head(
        context, task, value, config.hidden_size, config.id2label, _heads(context, config, prefix, words)
    )
    refuse_unused_layers(context, f"{prefix}encoder")
    return ModelFacts(
        context_length=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        activation_width=shape.activation_width,
        labels=labels,
    )


def _groups(context: BuildContext, config: AlbertConfig, shape: LayerShape, name: str) -> list[list[EncoderLayer]]:
    return [
        [
            EncoderLayer(context, shape, f"{name}.albert_layer_groups.{group}.albert_layers.{inner}", NAMES)
            for inner in range(config.inner_group_num)
        ]
        for group in range(config.num_hidden_groups)
    ]


def _embeddings(
    context: BuildContext, config: AlbertConfig, prefix: str, ids: str, types: str, words: EmbeddingTable
) -> str:
    """Words, positions and segments, widened to the layers' width."""
    name = f"{prefix}embeddings"
    positions = context.tensor(f"{name}.position_embeddings.weight", config.max_position_embeddings, words.width)
    places = row_of_positions(context, ids)
    narrow = embed(
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
    widen = Projection(context, f"{prefix}encoder.embedding_hidden_mapping_in", config.hidden_size, words.width)
    return widen.apply(narrow, "/encoder/embedding_hidden_mapping_in")


def _heads(context: BuildContext, config: AlbertConfig, prefix: str, words: EmbeddingTable) -> heads.Heads:
    def pool(first: str) -> str:
        return heads.pooler(context, first, f"{prefix}pooler", config.hidden_size)

    def fill(value: str) -> str:
        names = heads.MaskHead(
            dense="predictions.dense",
            norm="predictions.LayerNorm",
            decoder="predictions.decoder",
            bias="predictions.bias",
            tied=config.tie_word_embeddings,
        )
        return heads.mask_logits(
            context, value, config.hidden_size, words, names, config.hidden_act, config.layer_norm_eps
        )

    return heads.Heads(pool, "classifier", fill)


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build)
