"""Owns what the families of gated decoders share: fields of their configs, and the step from description to family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from convert.checkpoint.tensor import LazyTensor
from convert.dtypes import Dtype
from convert.errors import BadCheckpoint, UnsupportedModel
from convert.families.blocks.attention import Heads
from convert.families.blocks.context import BuildContext
from convert.families.blocks.gated_decoder import GatedDecoder, Layer, build_gated_decoder
from convert.families.blocks.rotary import Rotary, rope_number
from convert.families.family import Family, ModelFacts, read_config
from convert.kv_cache import KvCache

SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Fields of a Hugging Face ``config.json``, with the defaults of Llama; a family states what differs."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_position_embeddings: int = 2048
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    tie_word_embeddings: bool = False
    layer_types: list[str] | None = None

    def __post_init__(self) -> None:
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
            if not getattr(self, key):
                raise BadCheckpoint(f"config.json has {key}: 0, expected at least 1; fetch it again")

    def heads(self) -> Heads:
        """Heads of queries, of keys and values, and their size."""
        size = self.head_dim or self.hidden_size // self.num_attention_heads
        return Heads(self.num_attention_heads, self.num_key_value_heads or self.num_attention_heads, size)

    def rotary(self, *, fraction: float = 1.0) -> Rotary:
        """The rotation that ``rope_scaling`` asks for; transformers 5 writes it as ``rope_parameters``."""
        parameters = self.rope_parameters or self.rope_scaling or {}
        return Rotary(
            width=int(self.heads().size * min(1.0, fraction)),
            positions=self.max_position_embeddings,
            theta=rope_number(parameters, "rope_theta", self.rope_theta),
            scaling=parameters,
        )

    def kinds(self, default: Sequence[str]) -> Sequence[str]:
        """``layer_types``, or ``default`` when the config has none."""
        kinds = default if self.layer_types is None else self.layer_types
        if len(kinds) != self.num_hidden_layers or not set(kinds) <= {SLIDING, FULL}:
            raise UnsupportedModel(
                f"layer_types in config.json has {len(kinds)} entries, expected {self.num_hidden_layers}, each of them "
                f"{SLIDING} or {FULL}"
            )
        return kinds

    def layer(self, rotary: Rotary | None, window: int | None = None) -> Layer:
        """A layer; a window that spans the whole context is none."""
        return Layer(rotary, window if window and window < self.max_position_embeddings else None)

    def layers(self, rotary: Rotary, window: int | None = None) -> tuple[Layer, ...]:
        """Layers that do not differ."""
        return (self.layer(rotary, window),) * self.num_hidden_layers

    def describe(self, layers: tuple[Layer, ...]) -> GatedDecoder:
        """A decoder of that size that differs from Llama in nothing; see ``dataclasses.replace``."""
        return GatedDecoder(
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            vocab_size=self.vocab_size,
            context_length=self.max_position_embeddings,
            heads=self.heads(),
            layers=layers,
            epsilon=self.rms_norm_eps,
            tied=self.tie_word_embeddings,
            activation=self.hidden_act,
        )


Config = TypeVar("Config", bound=DecoderConfig)


Tensors = Mapping[str, LazyTensor]


def decoder_family(
    config_class: type[Config],
    describe: Callable[[Config], GatedDecoder],
    view: Callable[[Config, Tensors], Tensors] | None = None,
) -> Family:
    """The family whose graph ``describe`` derives from its config.

    ``view`` gives the tensors of the checkpoint the names and shapes that Llama has.
    """

    def build(context: BuildContext, task: str) -> ModelFacts:
        config = read_config(config_class, context.checkpoint.config)
        decoder = describe(config)
        if view:
            context.checkpoint = replace(context.checkpoint, tensors=view(config, context.checkpoint.tensors))
        build_gated_decoder(context, decoder)
        context.refuse_leftovers(r".*\.rotary_emb\.inv_freq")
        heads = decoder.heads
        return ModelFacts(
            context_length=decoder.context_length,
            vocab_size=decoder.vocab_size,
            activation_width=4 * decoder.hidden_size
            + 3 * decoder.intermediate_size
            + (heads.queries + 2 * heads.pairs) * heads.size,
            kv_cache=KvCache(len(decoder.layers), heads.pairs, heads.size),
        )

    return Family(tasks=("text-generation",), default_dtypes=(Dtype.Q4,), build=build)
