"""Builds GPT-2 decoders (Radford et al. 2019): LayerNorm, learned positions, a plain feed-forward."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from convert.checkpoint.tensor import LazyTensor, slice_rows, transpose
from convert.dtypes import Dtype
from convert.errors import BadCheckpoint
from convert.families.blocks.activation import activation
from convert.families.blocks.attention import Attending, Heads, attend
from convert.families.blocks.context import BuildContext
from convert.families.blocks.decoder_inputs import Lengths, decoder_inputs, position_row, sequence_lengths
from convert.families.blocks.decoder_logits import declare_logits, decoder_logits
from convert.families.blocks.embedding import EmbeddingTable
from convert.families.blocks.linear import projection
from convert.families.blocks.norm import NormWeights, layer_norm
from convert.families.family import Family, ModelFacts, read_config
from convert.kv_cache import KvCache

_CONV1D = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")
_FUSED = re.compile(r"(h\.\d+\.attn\.)c_attn\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class Gpt2Config:
    """Fields of a Hugging Face ``config.json`` with ``model_type: gpt2``."""

    n_embd: int
    n_layer: int
    n_head: int
    vocab_size: int
    n_positions: int = 1024
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        if not (self.n_layer and self.n_head and self.n_embd) or self.n_embd % self.n_head:
            raise BadCheckpoint(
                f"config.json has n_layer: {self.n_layer}, n_embd: {self.n_embd} and n_head: {self.n_head}, expected "
                "at least one layer, and a width that the heads divide; fetch it from where the weights are from"
            )

    @property
    def inner(self) -> int:
        """Width of the feed-forward."""
        return self.n_inner or 4 * self.n_embd

    def heads(self) -> Heads:
        """As many of keys and values as of queries."""
        return Heads(self.n_head, self.n_head, self.n_embd // self.n_head)

    def scale(self, index: int) -> float | None:
        """Factor of the scores of layer ``index``; None: the usual one."""
        if self.scale_attn_weights and not self.scale_attn_by_inverse_layer_idx:
            return None
        usual = (self.n_embd // self.n_head) ** -0.5 if self.scale_attn_weights else 1.0
        return usual / (index + 1) if self.scale_attn_by_inverse_layer_idx else usual


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the whole decoder; its inputs and outputs are those of ``build_gated_decoder``."""
    config = read_config(Gpt2Config, context.checkpoint.config)
    context.checkpoint = replace(context.checkpoint, tensors=_unfused(config, context.checkpoint.tensors))
    config.heads().check()
    inputs = decoder_inputs(context)
    declare_logits(context, config.vocab_size)
    words = EmbeddingTable(context, context.tensor("wte.weight", config.vocab_size, config.n_embd))
    places = EmbeddingTable(context, context.tensor("wpe.weight", config.n_positions, config.n_embd))
    found = words.lookup(inputs.ids, "/model/wte")
    placed = places.lookup(position_row(context, inputs.ids, inputs.mask), "/model/wpe")
    residual = context.graph.node("Add", [found, placed], "/model/embeddings/Add")[0]
    lengths = sequence_lengths(context, inputs.mask)
    for index in range(config.n_layer):
        residual = _layer(context, config, lengths, index, residual)
    final = _norm(context, config, residual, "ln_f", "/model/ln_f")
    decoder_logits(context, final, inputs.kept, words, tied=config.tie_word_embeddings)
    context.refuse_leftovers(r"h\.\d+\.attn\.(bias|masked_bias)")
    return ModelFacts(
        context_length=config.n_positions,
        vocab_size=config.vocab_size,
        activation_width=7 * config.n_embd + 2 * config.inner,
        kv_cache=KvCache(config.n_layer, config.n_head, config.n_embd // config.n_head),
    )


def _unfused(config: Gpt2Config, tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Names without prefix, weights as [out, in], and queries, keys and values as tensors of their own.

    Checkpoints of Hugging Face hold Conv1D weights, [in, out]; GGUF files hold them as [out, in].
    """
    plain = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    width = config.n_embd
    fused = plain.get("h.0.attn.c_attn.weight")
    turned = fused is not None and fused.shape == (width, 3 * width)
    split: dict[str, LazyTensor] = {}
    for name, tensor in plain.items():
        if turned and _CONV1D.fullmatch(name) and len(tensor.shape) == 2:
            tensor = transpose(tensor)
        match = _FUSED.fullmatch(name)
        if match and tensor.rows == 3 * width:
            parts = {f"{match[1]}{letter}_proj.{match[2]}": start * width for start, letter in enumerate("qkv")}
            split |= {part: slice_rows(tensor, start, start + width).renamed(part) for part, start in parts.items()}
        else:
            split[name] = tensor.renamed(name)
    return split


def _layer(context: BuildContext, config: Gpt2Config, lengths: Lengths, index: int, residual: str) -> str:
    """One block: residual + attention(norm), then + feed-forward(norm)."""
    name, path, width, inner = f"h.{index}", f"/model/h.{index}", config.n_embd, config.inner

    def project(source: str, part: str, out_width: int, in_width: int) -> str:
        return projection(context, source, f"{name}.{part}", out_width, in_width, f"{path}/{part}", bias=True)

    normalized = _norm(context, config, residual, f"{name}.ln_1", f"{path}/ln_1")
    attended = attend(
        context,
        config.heads(),
        index,
        [project(normalized, f"attn.{letter}_proj", width, width) for letter in "qkv"],
        lengths,
        None,
        Attending(scale=config.scale(index)),
        f"{path}/attn",
    )
    attended = project(attended, "attn.c_proj", width, width)
    residual = context.graph.node("Add", [attended, residual], f"{path}/attn/Add")[0]
    normalized = _norm(context, config, residual, f"{name}.ln_2", f"{path}/ln_2")
    widened = project(normalized, "mlp.c_fc", inner, width)
    active = activation(context, widened, config.activation_function, f"{path}/mlp/act")
    narrowed = project(active, "mlp.c_proj", width, inner)
    return context.graph.node("Add", [narrowed, residual], f"{path}/mlp/Add")[0]


def _norm(context: BuildContext, config: Gpt2Config, value: str, name: str, path: str) -> str:
    weights = NormWeights(context, name, config.n_embd)
    return layer_norm(context, value, weights.weight, weights.bias, path, epsilon=config.layer_norm_epsilon)


FAMILY = Family(tasks=("text-generation",), default_dtypes=(Dtype.Q4,), build=build)
