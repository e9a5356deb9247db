"""Builds DistilBERT encoders (Sanh et al. 2019): post-norm transformer layers with learned positions."""

from dataclasses import dataclass

from convert.dtypes import Dtype
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.encoder import EncoderLayer, LayerNames, LayerShape
from convert.families.blocks.linear import Projection
from convert.families.family import Family, ModelFacts, read_config
from convert.families.text_encoder import TextEncoder

EPSILON = 1e-12
NAMES = LayerNames(
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attended_norm="sa_layer_norm",
    widened="ffn.lin1",
    narrowed="ffn.lin2",
    narrowed_norm="output_layer_norm",
)


@dataclass(frozen=True)
class DistilBertConfig:
    """Fields of a Hugging Face ``config.json`` with ``model_type: distilbert``."""

    vocab_size: int
    dim: int
    n_layers: int
    n_heads: int
    hidden_dim: int
    max_position_embeddings: int = 512
    activation: str = "gelu"
    tie_word_embeddings: bool = True
    id2label: dict[str, str] | None = None


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the encoder and the head of ``task``; inputs and outputs are those of `TextEncoder`."""
    config = read_config(DistilBertConfig, context.checkpoint.config)
    shape = LayerShape(config.dim, config.hidden_dim, config.n_heads, config.activation, EPSILON)
    encoder = TextEncoder(context, "distilbert", task, shape, vocab_size=config.vocab_size, width=config.dim)
    value = encoder.embed(config.max_position_embeddings)
    for index in range(config.n_layers):
        layer = EncoderLayer(context, shape, f"{encoder.prefix}transformer.layer.{index}", NAMES)
        value = layer.apply(value, encoder.bias, f"/transformer/layer.{index}")

    def pool(first: str) -> str:
        dense = Projection(context, "pre_classifier", config.dim, config.dim)
        return context.graph.node("Relu", [dense.apply(first, "/pre_classifier")], "/pre_classifier/Relu")[0]

    head = heads.Heads(
        pool=pool,
        classifier="classifier",
        mask=heads.MaskHead(
            dense="vocab_transform",
            norm="vocab_layer_norm",
            decoder="vocab_projector",
            bias="vocab_projector.bias",
            tied=config.tie_word_embeddings,
            activation=config.activation,
            epsilon=EPSILON,
        ),
    )
    return encoder.finish(value, "transformer", config.max_position_embeddings, config.id2label, head)


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build, compact=True)
