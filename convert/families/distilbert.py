"""Builds DistilBERT encoders (Sanh et al. 2019): post-norm transformer layers with learned positions."""

from dataclasses import dataclass

from convert.dtypes import Dtype
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.encoder import EncoderLayer, LayerNames, LayerShape, padding_bias, refuse_unused_layers
from convert.families.blocks.encoder_embeddings import embed, row_of_positions, token_input
from convert.families.blocks.linear import Projection
from convert.families.family import Family, ModelFacts, read_config

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
    """Add the encoder and the head of ``task``.

    Inputs: input_ids, attention_mask int64 [batch, tokens]. Outputs: those of `heads.add_head`.
    """
    config = read_config(DistilBertConfig, context.checkpoint.config)
    shape = LayerShape(config.dim, config.hidden_dim, config.n_heads, config.activation, EPSILON)
    shape.check("distilbert")
    ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
    prefix = "" if context.has("embeddings.word_embeddings.weight") else "distilbert."
    bias = padding_bias(context, mask)
    words = EmbeddingTable(
        context, context.tensor(f"{prefix}embeddings.word_embeddings.weight", config.vocab_size, config.dim)
    )
    name = f"{prefix}embeddings"
    positions = context.tensor(f"{name}.position_embeddings.weight", config.max_position_embeddings, config.dim)
    value = embed(context, name, words, ids, positions, row_of_positions(context, ids), epsilon=EPSILON)
    for index in range(config.n_layers):
        layer = EncoderLayer(context, shape, f"{prefix}transformer.layer.{index}", NAMES)
        value = layer.apply(value, bias, f"/transformer/layer.{index}")
    labels = heads.add_head(context, task, value, config.dim, config.id2label, _heads(context, config, words))
    refuse_unused_layers(context, f"{prefix}transformer")
    return ModelFacts(
        context_length=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        activation_width=shape.activation_width,
        labels=labels,
    )


def _heads(context: BuildContext, config: DistilBertConfig, words: EmbeddingTable) -> heads.Heads:
    def pool(first: str) -> str:
        dense = Projection(context, "pre_classifier", config.dim, config.dim)
        return context.graph.node("Relu", [dense.apply(first, "/pre_classifier")], "/pre_classifier/Relu")[0]

    def fill(value: str) -> str:
        names = heads.MaskHead(
            dense="vocab_transform",
            norm="vocab_layer_norm",
            decoder="vocab_projector",
            bias="vocab_projector.bias",
            tied=config.tie_word_embeddings,
        )
        return heads.mask_logits(context, value, config.dim, words, names, config.activation, EPSILON)

    return heads.Heads(pool, "classifier", fill)


FAMILY = Family(tasks=heads.TASKS, default_dtypes=(Dtype.Q8,), build=build)
