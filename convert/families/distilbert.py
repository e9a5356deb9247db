"""Builds DistilBERT encoders (Sanh et al. 2019): post-norm transformer layers with learned positions."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable, logits_float32
from convert.families.blocks.linear import linear
from convert.families.blocks.norm import layer_norm, skip_layer_norm, vector
from convert.families.family import Family, ModelFacts, read_config
from convert.graph.builder import MICROSOFT

EPSILON = 1e-12
# Added to the attention scores of padding; float16 holds it, and exp() of it is 0 in both types.
MASKED = -10000.0


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
    id2label: dict[str, str] | None = None

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        if self.activation != "gelu":
            raise UnsupportedModel(f"distilbert with activation={self.activation!r} is not supported, only 'gelu'")
        if self.dim % self.n_heads:
            raise UnsupportedModel(f"distilbert with dim={self.dim} cannot be split into {self.n_heads} heads")


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the encoder, and for text-classification its head.

    Inputs: input_ids, attention_mask int64 [batch, sequence].
    Outputs: last_hidden_state float32 [batch, sequence, dim], or logits float32 [batch, labels].
    """
    config = read_config(DistilBertConfig, context.checkpoint.config)
    config.check()
    graph = context.graph
    ids = graph.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
    mask = graph.input("attention_mask", TensorProto.INT64, ["batch_size", "sequence_length"])
    prefix = "" if context.has("embeddings.word_embeddings.weight") else "distilbert."
    bias = _attention_bias(context, mask)
    value = _embeddings(context, config, prefix, ids)
    for index in range(config.n_layers):
        value = _layer(
            context, config, f"{prefix}transformer.layer.{index}", f"/transformer/layer.{index}", value, bias
        )
    labels = None
    if task == "text-classification":
        labels = _classifier(context, config, value)
    else:
        graph.output("last_hidden_state", TensorProto.FLOAT, ["batch_size", "sequence_length", config.dim])
        result = logits_float32(context, value, "/last_hidden_state")
        graph.append("Identity", [result], ["last_hidden_state"], "/last_hidden_state/Identity")
    return ModelFacts(
        context_length=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        activation_width=6 * config.dim + 2 * config.hidden_dim,
        labels=labels,
    )


def _attention_bias(context: BuildContext, mask: str) -> str:
    """0 where the mask is 1 and ``MASKED`` where it is 0, as [batch, 1, sequence, sequence]."""
    graph, path = context.graph, "/attention_bias"
    axes = graph.constant([1, 2], "/constants/axes_1_2")
    wide = graph.node("Unsqueeze", [mask, axes], f"{path}/Unsqueeze")[0]
    flags = graph.node("Cast", [wide], f"{path}/Cast", to=context.float_type)[0]
    one = graph.constant(np.ones((), context.float_numpy), f"{path}/one")
    padding = graph.node("Sub", [one, flags], f"{path}/Sub")[0]
    low = graph.constant(np.full((), MASKED, context.float_numpy), f"{path}/masked")
    bias = graph.node("Mul", [padding, low], f"{path}/Mul")[0]
    length = graph.node("Shape", [mask], f"{path}/Shape", start=1, end=2)[0]
    one_one = graph.constant([1, 1], "/constants/one_one")
    one_shape = graph.constant([1], "/constants/axis_1")
    shape = graph.node("Concat", [one_one, length, one_shape], f"{path}/Concat", axis=0)[0]
    return graph.node("Expand", [bias, shape], f"{path}/Expand")[0]


def _embeddings(context: BuildContext, config: DistilBertConfig, prefix: str, ids: str) -> str:
    """Word + position embeddings, normalized."""
    graph, name, path = context.graph, f"{prefix}embeddings", "/embeddings"
    words = EmbeddingTable(context, context.tensor(f"{name}.word_embeddings.weight", config.vocab_size, config.dim))
    table = EmbeddingTable(
        context, context.tensor(f"{name}.position_embeddings.weight", config.max_position_embeddings, config.dim)
    )
    length = graph.node("Shape", [ids], f"{path}/positions/Shape", start=1, end=2)[0]
    scalar = graph.constant(np.zeros((0,), np.int64), "/constants/scalar_shape")
    limit = graph.node("Reshape", [length, scalar], f"{path}/positions/Reshape")[0]
    bounds = [graph.constant(0, "/constants/zero"), limit, graph.constant(1, "/constants/one")]
    positions = graph.node("Range", bounds, f"{path}/positions/Range")[0]
    row = graph.node("Unsqueeze", [positions, graph.constant([0], "/constants/axis_0")], f"{path}/positions/Unsqueeze")
    gathered = words.lookup(ids, f"{path}/word_embeddings")
    total = graph.node("Add", [gathered, table.lookup(row[0], f"{path}/position_embeddings")], f"{path}/Add")[0]
    weight = vector(context, f"{name}.LayerNorm.weight", config.dim)
    bias = vector(context, f"{name}.LayerNorm.bias", config.dim)
    return layer_norm(context, total, weight, bias, f"{path}/LayerNorm", epsilon=EPSILON)


def _layer(context: BuildContext, config: DistilBertConfig, name: str, path: str, value: str, mask: str) -> str:
    """One block: attention, add & norm, GELU feed-forward, add & norm."""
    graph, dim, inner = context.graph, config.dim, config.hidden_dim

    def project(source: str, part: str, rows: int, width: int) -> str:
        return linear(context, source, context.tensor(f"{name}.{part}.weight", rows, width), f"{path}/{part}")

    def biased(source: str, part: str, rows: int, width: int) -> str:
        bias = vector(context, f"{name}.{part}.bias", rows)
        return graph.node("Add", [project(source, part, rows, width), bias], f"{path}/{part}/Add")[0]

    heads = [biased(value, f"attention.{letter}_lin", dim, dim) for letter in "qkv"]
    attended = graph.node(
        "MultiHeadAttention",
        [*heads, "", "", mask],
        f"{path}/attention/MultiHeadAttention",
        domain=MICROSOFT,
        num_heads=config.n_heads,
    )[0]
    value = skip_layer_norm(
        context,
        project(attended, "attention.out_lin", dim, dim),
        value,
        vector(context, f"{name}.sa_layer_norm.weight", dim),
        vector(context, f"{name}.sa_layer_norm.bias", dim),
        f"{path}/sa_layer_norm",
        value_bias=vector(context, f"{name}.attention.out_lin.bias", dim),
        epsilon=EPSILON,
    )
    widened = project(value, "ffn.lin1", inner, dim)
    bias = vector(context, f"{name}.ffn.lin1.bias", inner)
    active = graph.node("BiasGelu", [widened, bias], f"{path}/ffn/BiasGelu", domain=MICROSOFT)[0]
    return skip_layer_norm(
        context,
        project(active, "ffn.lin2", dim, inner),
        value,
        vector(context, f"{name}.output_layer_norm.weight", dim),
        vector(context, f"{name}.output_layer_norm.bias", dim),
        f"{path}/output_layer_norm",
        value_bias=vector(context, f"{name}.ffn.lin2.bias", dim),
        epsilon=EPSILON,
    )


def _classifier(context: BuildContext, config: DistilBertConfig, value: str) -> tuple[str, ...]:
    """Head of DistilBertForSequenceClassification: linear, ReLU, linear over the first token; returns the labels."""
    graph, labels = context.graph, config.id2label or {"0": "LABEL_0", "1": "LABEL_1"}
    count = len(labels)
    first = graph.constant([0], "/constants/axis_0")
    token = graph.node("Gather", [value, first], "/classifier/first_token/Gather", axis=1)[0]

    def dense(source: str, part: str, rows: int) -> str:
        product = linear(context, source, context.tensor(f"{part}.weight", rows, config.dim), f"/{part}")
        return graph.node("Add", [product, vector(context, f"{part}.bias", rows)], f"/{part}/Add")[0]

    active = graph.node("Relu", [dense(token, "pre_classifier", config.dim)], "/pre_classifier/Relu")[0]
    logits = logits_float32(context, dense(active, "classifier", count), "/classifier")
    shape = graph.constant([0, count], "/constants/labels_shape")
    graph.output("logits", TensorProto.FLOAT, ["batch_size", count])
    flat = graph.node("Squeeze", [logits, graph.constant([1], "/constants/axis_1")], "/classifier/Squeeze")[0]
    graph.append("Reshape", [flat, shape], ["logits"], "/classifier/Reshape")
    return tuple(labels[str(index)] for index in range(count))


FAMILY = Family(tasks=("feature-extraction", "text-classification"), default_dtypes=(Dtype.Q8,), build=build)
