"""Owns causal self-attention over a KV cache (GroupQueryAttention), and the graph inputs and outputs of that cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.families.blocks.decoder_inputs import Lengths
from convert.families.blocks.norm import rms_norm
from convert.graph.builder import MICROSOFT

HEAD_MULTIPLE = 8
ROTARY_MULTIPLE = 16


@dataclass(frozen=True)
class Heads:
    """``queries`` heads of ``size``, in groups that share ``pairs`` heads of keys and values (Ainslie et al. 2023)."""

    queries: int
    pairs: int
    size: int

    def check(self, rotary_widths: Sequence[int] = ()) -> None:
        """Refuse what ONNX Runtime's kernels do not compute, given how much of each head is rotated.

        Raises:
            UnsupportedModel: sizes that do not divide.
        """
        if self.queries % self.pairs:
            raise UnsupportedModel(
                f"config.json has {self.queries} attention heads for {self.pairs} heads of keys and values, "
                "expected a multiple of them"
            )
        multiple = ROTARY_MULTIPLE if rotary_widths else HEAD_MULTIPLE
        if self.size % multiple or not self.size:
            raise UnsupportedModel(f"attention heads of {self.size} are not supported, only multiples of {multiple}")
        for width in rotary_widths:
            if width % ROTARY_MULTIPLE or not 0 < width <= self.size:
                raise UnsupportedModel(
                    f"a rotation of {width} of the {self.size} elements of a head is not supported, "
                    f"only multiples of {ROTARY_MULTIPLE}"
                )


@dataclass(frozen=True)
class Attending:
    """How scores are made of queries and keys."""

    window: int | None = None
    """Positions that a token sees, itself included; None: all before it."""
    scale: float | None = None
    """Factor of the scores; None: 1 / sqrt(head size)."""
    softcap: float | None = None
    """Bound of the scores: ``softcap * tanh(score / softcap)``."""


def attend(
    context: BuildContext,
    heads: Heads,
    index: int,
    projected: list[str],
    lengths: Lengths,
    rotary: tuple[str, str] | None,
    attending: Attending,
    path: str,
) -> str:
    """Attention of layer ``index``: [batch, sequence, queries * size], before the output projection.

    Adds past_key_values.N.key/value and present.N.key/value, [batch, pairs, tokens, size].

        queries, keys, values, past key, past value, last, total [, cosine, sine] -- GroupQueryAttention

    Args:
        projected: queries, keys, values, [batch, sequence, heads * size] each.
        rotary: cosine and sine; None leaves queries and keys as they are.
    """
    graph = context.graph
    past: list[str] = []
    present: list[str] = []
    lead: tuple[str | int, ...] = ("batch_size", heads.pairs)
    for part in ("key", "value"):
        name_in, name_out = f"past_key_values.{index}.{part}", f"present.{index}.{part}"
        past.append(graph.input(name_in, context.float_type, [*lead, "past_sequence_length", heads.size]))
        present.append(graph.output(name_out, context.float_type, [*lead, "total_sequence_length", heads.size]))
    wanted = {
        "local_window_size": attending.window,
        "scale": attending.scale,
        "softcap": attending.softcap,
    }
    attended = f"{path}/GroupQueryAttention/output_0"
    graph.append(
        "GroupQueryAttention",
        [*projected, *past, lengths.last, lengths.total, *(rotary or ())],
        [attended, *present],
        f"{path}/GroupQueryAttention",
        domain=MICROSOFT,
        num_heads=heads.queries,
        kv_num_heads=heads.pairs,
        do_rotary=int(rotary is not None),
        **{name: value for name, value in wanted.items() if value is not None},
    )
    return attended


def normalized_heads(
    context: BuildContext, value: str, count: int, weight: str, path: str, heads: Heads, epsilon: float
) -> str:
    """RMSNorm of each of ``count`` heads by itself (QK-norm, Henry et al. 2020), [batch, sequence, count * size].

    value -- Reshape [.., count, size] -- SimplifiedLayerNormalization -- Reshape [.., count * size]
    """
    graph, width = context.graph, count * heads.size
    split = graph.constant([0, 0, count, heads.size], f"/constants/heads_{count}x{heads.size}")
    flat = graph.constant([0, 0, width], f"/constants/flatten_{width}")
    parts = graph.node("Reshape", [value, split], f"{path}/split/Reshape")[0]
    normalized = rms_norm(context, parts, weight, path, epsilon=epsilon)
    return graph.node("Reshape", [normalized, flat], f"{path}/join/Reshape")[0]
