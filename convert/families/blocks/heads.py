"""Owns the heads of encoders, one per task, and the names and shapes of their outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnx import TensorProto

from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable, logits_float32
from convert.families.blocks.encoder import biased_activation
from convert.families.blocks.linear import LinearWeight, Projection
from convert.families.blocks.norm import NormWeights, layer_norm, vector
from convert.families.blocks.tying import check_tied

TASKS = ("feature-extraction", "text-classification", "token-classification", "question-answering", "fill-mask")
LABELLED = ("text-classification", "token-classification")
LABEL_BITS = 8
_ROWS = ("batch_size", "sequence_length")


@dataclass(frozen=True)
class MaskHead:
    """Names of a masked-language-model head: a linear, an activation, a norm, and the embedding table again."""

    dense: str
    norm: str
    decoder: str
    """The table when it is not tied; its own bias may stand for ``bias``."""
    bias: str
    tied: bool
    activation: str
    epsilon: float


@dataclass(frozen=True)
class Heads:
    """What only the family knows of its heads.

    ``pool`` makes of the first token [batch, 1, width] what the module ``classifier`` reads.
    """

    pool: Callable[[str], str]
    classifier: str
    mask: MaskHead


def add_head(
    context: BuildContext,
    task: str,
    value: str,
    width: int,
    id2label: Mapping[str, str] | None,
    heads: Heads,
    table: EmbeddingTable,
) -> tuple[str, ...] | None:
    """Add the head of ``task`` to hidden states [batch, tokens, width], and the outputs; returns the labels.

    feature-extraction: last_hidden_state [batch, tokens, width]; text-classification: logits [batch, labels];
    token-classification: logits [batch, tokens, labels]; question-answering: start_logits and end_logits
    [batch, tokens]; fill-mask: logits [batch, tokens, vocab]. All float32.
    """
    labels = read_labels(id2label) if task in LABELLED else None
    if task == "text-classification":
        _sequence_logits(context, heads.pool(first_token(context, value)), heads.classifier, width, len(labels or ()))
    elif task == "token-classification":
        _output(
            context,
            "logits",
            _label_logits(context, value, "classifier", len(labels or ()), width),
            [len(labels or ())],
        )
    elif task == "question-answering":
        _span_logits(context, value, width)
    elif task == "fill-mask":
        filled = _mask_logits(context, value, width, table, heads.mask)
        _output(context, "logits", logits_float32(context, filled, "/fill_mask"), ["vocab_size"])
    else:
        hidden_states(context, value, width)
    return labels


def hidden_states(context: BuildContext, value: str, width: int) -> None:
    """The output last_hidden_state [batch, tokens, width]."""
    _output(context, "last_hidden_state", logits_float32(context, value, "/last_hidden_state"), [width])


def read_labels(id2label: Mapping[str, str] | None) -> tuple[str, ...]:
    """The labels in the order of their logits; two nameless ones where config.json has none.

    Raises:
        UnsupportedModel: the numbers are not 0, 1, 2 and so on.
    """
    named = id2label or {"0": "LABEL_0", "1": "LABEL_1"}
    if set(named) != {str(index) for index in range(len(named))}:
        raise UnsupportedModel(
            f"id2label in config.json names the labels {', '.join(sorted(named)[:5])}, expected numbers from 0 on; "
            "is it the checkpoint's own?"
        )
    labels = tuple(named[str(index)] for index in range(len(named)))
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) < len(labels):
        raise UnsupportedModel(
            "id2label in config.json has a label twice, or one that is no text; give each its own name"
        )
    return labels


def first_token(context: BuildContext, value: str) -> str:
    """[batch, tokens, width] -> [batch, 1, width], the token that classifiers read."""
    first = context.graph.constant([0], "/constants/axis_0")
    return context.graph.node("Gather", [value, first], "/classifier/first_token/Gather", axis=1)[0]


def pooler(context: BuildContext, value: str, name: str, width: int) -> str:
    """``tanh(linear(value))``."""
    path = f"/{name.replace('.', '/')}"
    return context.graph.node("Tanh", [Projection(context, name, width, width).apply(value, path)], f"{path}/Tanh")[0]


def _mask_logits(context: BuildContext, value: str, width: int, table: EmbeddingTable, head: MaskHead) -> str:
    """[batch, tokens, width] -> [batch, tokens, vocab].

    value - linear - BiasGelu - LayerNormalization - table (MatMulNBits, or Gemm) - Add
    """
    path = "/fill_mask"
    dense = Projection(context, head.dense, table.width, width)
    active = biased_activation(context, dense, value, f"{path}/dense", head.activation)
    norm = NormWeights(context, head.norm, table.width)
    normal = layer_norm(context, active, norm.weight, norm.bias, f"{path}/norm", epsilon=head.epsilon)
    if head.tied or not context.has(f"{head.decoder}.weight"):
        check_tied(context, table.tensor, f"{head.decoder}.weight")
        product = table.project(normal, f"{path}/decoder")
    else:
        tensor = context.tensor(f"{head.decoder}.weight", table.rows, table.width)
        product = LinearWeight(context, tensor, context.embedding_bits).multiply(normal, f"{path}/decoder")
    name = head.bias if context.has(head.bias) else f"{head.decoder}.bias"
    return context.graph.node("Add", [product, vector(context, name, table.rows)], f"{path}/decoder/Add")[0]


def _label_logits(context: BuildContext, value: str, name: str, count: int, width: int) -> str:
    """A linear with few rows, which keeps 8 bits in quantized variants: it costs nothing and decides everything."""
    path = f"/{name.replace('.', '/')}"
    logits = Projection(context, name, count, width, bits=LABEL_BITS).apply(value, path)
    return logits_float32(context, logits, path)


def _sequence_logits(context: BuildContext, value: str, name: str, width: int, count: int) -> None:
    """[batch, 1, width] -> logits [batch, labels]: linear - Add - Squeeze(1) - Reshape([0, labels])."""
    graph = context.graph
    logits = _label_logits(context, value, name, count, width)
    shape = graph.constant([0, count], "/constants/labels_shape")
    graph.output("logits", TensorProto.FLOAT, ["batch_size", count])
    flat = graph.node("Squeeze", [logits, graph.constant([1], "/constants/axis_1")], "/logits/Squeeze")[0]
    graph.append("Reshape", [flat, shape], ["logits"], "/logits/Reshape")


def _span_logits(context: BuildContext, value: str, width: int) -> None:
    """Two logits per token, for the first and the last one of the answer.

    value - linear - Add -+- Gather(0, axis 2) - start_logits
                          +- Gather(1, axis 2) - end_logits
    """
    graph = context.graph
    both = _label_logits(context, value, "qa_outputs", 2, width)
    for index, name in enumerate(("start_logits", "end_logits")):
        graph.output(name, TensorProto.FLOAT, _ROWS)
        column = graph.constant(index, f"/constants/{('zero', 'one')[index]}")
        graph.append("Gather", [both, column], [name], f"/{name}/Gather", axis=2)


def _output(context: BuildContext, name: str, value: str, last: list[int | str]) -> None:
    """An output [batch, tokens, ...]."""
    context.graph.output(name, TensorProto.FLOAT, [*_ROWS, *last])
    context.graph.append("Identity", [value], [name], f"/{name}/Identity")
