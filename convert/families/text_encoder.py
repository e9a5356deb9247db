"""Owns what BERT and its kin share around their layers: inputs, the sum of embeddings, and what is known at the end."""

from convert.checkpoint.tensor import LazyTensor
from convert.families.blocks import heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.encoder import LayerShape, padding_bias, refuse_unused_layers
from convert.families.blocks.encoder_embeddings import row_of_positions, token_input
from convert.families.blocks.norm import NormWeights, layer_norm
from convert.families.family import ModelFacts


class TextEncoder:
    """One encoder under construction; families differ in names and add their layers between `embed` and `finish`.

    Inputs: input_ids, attention_mask and, where ``segments`` are told apart, token_type_ids: int64 [batch, tokens].
    Checkpoints with a head name their encoder's tensors after the family: ``prefix``.
    """

    def __init__(
        self,
        context: BuildContext,
        family: str,
        task: str,
        shape: LayerShape,
        *,
        vocab_size: int,
        width: int,
        segments: int = 0,
    ) -> None:
        shape.check(family)
        self.context, self.task, self.shape = context, task, shape
        self.vocab_size, self.width, self.segments = vocab_size, width, segments
        self.ids, mask = token_input(context, "input_ids"), token_input(context, "attention_mask")
        self.types = token_input(context, "token_type_ids") if segments else ""
        self.prefix = "" if context.has("embeddings.word_embeddings.weight") else f"{family}."
        self.bias = padding_bias(context, mask)
        self.words = self._table(self.tensor("word_embeddings", vocab_size), looked_up=task != "fill-mask")

    def tensor(self, name: str, rows: int) -> LazyTensor:
        """The table [rows, width] of that name among the embeddings."""
        return self.context.tensor(f"{self.prefix}embeddings.{name}.weight", rows, self.width)

    def _table(self, tensor: LazyTensor, *, looked_up: bool = True) -> EmbeddingTable:
        return EmbeddingTable(self.context, tensor, looked_up=looked_up)

    def embed(self, count: int) -> str:
        """`embed_at` the learned positions 0, 1, ... below ``count``."""
        return self.embed_at(self.tensor("position_embeddings", count), row_of_positions(self.context, self.ids))

    def embed_at(self, positions: LazyTensor, places: str) -> str:
        """Word + position + segment embeddings, normalized: [batch, tokens, width].

        Args:
            positions: table [positions, width]; ``places`` are its rows, [batch or 1, tokens].

        ids - words -----+
        places - positions - Add [- Add - types] - LayerNormalization
        """
        graph, path = self.context.graph, "/embeddings"
        table = self._table(positions)
        gathered = self.words.lookup(self.ids, f"{path}/word_embeddings")
        total = graph.node("Add", [gathered, table.lookup(places, f"{path}/position_embeddings")], f"{path}/Add")[0]
        if self.types:
            segments = self._table(self.tensor("token_type_embeddings", self.segments))
            segment = segments.lookup(self.types, f"{path}/token_type_embeddings")
            total = graph.node("Add", [total, segment], f"{path}/token_type_embeddings/Add")[0]
        norm = NormWeights(self.context, f"{self.prefix}embeddings.LayerNorm", self.width)
        return layer_norm(self.context, total, norm.weight, norm.bias, f"{path}/LayerNorm", epsilon=self.shape.epsilon)

    def finish(
        self, value: str, layers: str, context_length: int, id2label: dict[str, str] | None, head: heads.Heads
    ) -> ModelFacts:
        """Add the head of the task to hidden states [batch, tokens, layer width]; no tensor of ``layers`` may be left.

        Outputs: those of `heads.add_head`.
        """
        labels = heads.add_head(self.context, self.task, value, self.shape.width, id2label, head, self.words)
        refuse_unused_layers(self.context, f"{self.prefix}{layers}")
        return ModelFacts(
            context_length=context_length,
            vocab_size=self.vocab_size,
            activation_width=self.shape.activation_width,
            labels=labels,
        )
