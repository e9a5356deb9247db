"""Builds ALBERT encoders (Lan et al. 2020): narrow embeddings, and few layers that are applied many times."""

from dataclasses import dataclass

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.encoder import EncoderLayer, LayerNames, LayerShape
from convert.families.blocks.linear import Projection
from convert.families.family import Family, ModelFacts, read_config
from convert.families.text_encoder import TextEncoder

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
    """Add the encoder, the weights of a group stored once, and the head of ``task``.

    Inputs and outputs are those of `TextEncoder`.
    """
    config = read_config(AlbertConfig, context.checkpoint.config)
    config.check()
    width = config.hidden_size
    shape = LayerShape(
        width, config.intermediate_size, config.num_attention_heads, config.hidden_act, config.layer_norm_eps
    )
    encoder = TextEncoder(
        context,
        "albert",
        task,
        shape,
        vocab_size=config.vocab_size,
        width=config.embedding_size,
        segments=config.type_vocab_size,
    )
    prefix = encoder.prefix
    narrow = encoder.embed(config.max_position_embeddings)
    widen = Projection(context, f"{prefix}encoder.embedding_hidden_mapping_in", width, config.embedding_size)
    value = widen.apply(narrow, "/encoder/embedding_hidden_mapping_in")
    groups = _groups(context, config, shape, f"{prefix}encoder")
    for index in range(config.num_hidden_layers):
        for inner, layer in enumerate(groups[config.group_of(index)]):
            value = layer.apply(value, encoder.bias, f"/encoder/layer.{index}.{inner}")
    head = heads.Heads(
        pool=lambda first: heads.pooler(context, first, f"{prefix}pooler", width),
        classifier="classifier",
        mask=heads.MaskHead(
            dense="predictions.dense",
            norm="predictions.LayerNorm",
            decoder="predictions.decoder",
            bias="predictions.bias",
            tied=config.tie_word_embeddings,
            activation=config.hidden_act,
            epsilon=config.layer_norm_eps,
        ),
    )
    return encoder.finish(value, "encoder", config.max_position_embeddings, config.id2label, head)


def _groups(context: BuildContext, config: AlbertConfig, shape: LayerShape, name: str) -> list[list[EncoderLayer]]:
    return [
        [
            EncoderLayer(context, shape, f"{name}.albert_layer_groups.{group}.albert_layers.{inner}", NAMES)
            for inner in range(config.inner_group_num)
        ]
        for group in range(config.num_hidden_groups)
    ]


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build, compact=True)
