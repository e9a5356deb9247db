"""Builds decoders of the Llama family (Touvron et al. 2023): RMSNorm, rotary grouped-query attention, gated SiLU."""

from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.families.blocks.embedding import EmbeddingTable, logits_float32, output_head
from convert.families.blocks.linear import linear
from convert.families.blocks.norm import rms_norm, skip_rms_norm, vector
from convert.families.blocks.rotary import rotary_tables
from convert.families.family import Family, ModelFacts, read_config
from convert.graph.builder import MICROSOFT
from convert.kv_cache import KvCache

INT64_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class LlamaConfig:
    """Fields of a Hugging Face ``config.json`` with ``model_type: llama``."""

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
    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def theta(self) -> float:
        """Base of the rotary frequencies; transformers 5 keeps it in ``rope_parameters``."""
        return float((self.rope_parameters or {}).get("rope_theta", self.rope_theta))

    def check(self) -> None:
        """Refuse what the graph below does not compute."""
        kind = (self.rope_scaling or self.rope_parameters or {}).get("rope_type", "default")
        for found, expected, field in (
            (self.hidden_act, "silu", "hidden_act"),
            (kind, "default", "rope_type"),
            (self.attention_bias, False, "attention_bias"),
            (self.mlp_bias, False, "mlp_bias"),
        ):
            if found != expected:
                raise UnsupportedModel(f"llama with {field}={found!r} is not supported, only {expected!r}")
        if self.head_size % 16:
            raise UnsupportedModel(f"llama with heads of {self.head_size} is not supported, only multiples of 16")


@dataclass(frozen=True)
class _Inputs:
    """Values that every layer reads."""

    past_lengths: str
    total_length: str
    cosine: str
    sine: str


def build(context: BuildContext, task: str) -> ModelFacts:
    """Add the whole decoder.

    Inputs: input_ids, attention_mask int64 [batch, sequence] and [batch, past + sequence]; num_logits_to_keep int64
    scalar (0 keeps all); past_key_values.N.key/value [batch, kv_heads, past, head_dim].
    Outputs: logits float32 [batch, kept, vocab]; present.N.key/value.
    """
    config = read_config(LlamaConfig, context.checkpoint.config)
    config.check()
    graph, hidden = context.graph, config.hidden_size
    ids = graph.input("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"])
    mask = graph.input("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"])
    kept = graph.input("num_logits_to_keep", TensorProto.INT64, [])
    graph.output("logits", TensorProto.FLOAT, ["batch_size", "kept_length", config.vocab_size])

    table = EmbeddingTable(context, context.tensor("model.embed_tokens.weight", config.vocab_size, hidden))
    residual = table.lookup(ids, "/model/embed_tokens")
    inputs = _layer_inputs(context, config, mask)
    delta = ""
    for index in range(config.num_hidden_layers):
        delta, residual = _layer(context, config, inputs, index, delta, residual)
    weight = vector(context, "model.norm.weight", hidden)
    final, _ = skip_rms_norm(context, delta, residual, weight, "/model/norm", epsilon=config.rms_norm_eps)
    last = _keep_last(context, final, kept)
    if config.tie_word_embeddings or not context.has("lm_head.weight"):
        logits = logits_float32(context, table.project(last, "/lm_head"), "/lm_head")
    else:
        logits = output_head(context, last, context.tensor("lm_head.weight", config.vocab_size, hidden), "/lm_head")
    graph.append("Identity", [logits], ["logits"], "/logits/Identity")
    return ModelFacts(
        context_length=config.max_position_embeddings,
        vocab_size=config.vocab_size,
        activation_width=4 * hidden
        + 3 * config.intermediate_size
        + (config.num_attention_heads + 2 * config.kv_heads) * config.head_size,
        kv_cache=KvCache(config.num_hidden_layers, config.kv_heads, config.head_size),
    )


def _layer_inputs(context: BuildContext, config: LlamaConfig, mask: str) -> _Inputs:
    """Sequence lengths in the int32 form of GroupQueryAttention, and the rotary tables."""
    graph, path = context.graph, "/model/attention_mask"
    axis = graph.constant([1], "/constants/axis_1")
    count = graph.node("ReduceSum", [mask, axis], f"{path}/ReduceSum", keepdims=0)[0]
    before = graph.node("Sub", [count, axis], f"{path}/Sub")[0]
    lengths = graph.node("Cast", [before], f"{path}/seqlens_k/Cast", to=TensorProto.INT32)[0]
    shape = graph.node("Shape", [mask], f"{path}/Shape")[0]
    total = graph.node("Gather", [shape, graph.constant(1, "/constants/one")], f"{path}/Gather", axis=0)[0]
    total32 = graph.node("Cast", [total], f"{path}/total_length/Cast", to=TensorProto.INT32)[0]
    cosine, sine = rotary_tables(
        context,
        head_dim=config.head_size,
        positions=config.max_position_embeddings,
        theta=config.theta,
        path="/model/rotary_emb",
    )
    return _Inputs(lengths, total32, cosine, sine)


def _layer(
    context: BuildContext, config: LlamaConfig, inputs: _Inputs, index: int, delta: str, residual: str
) -> tuple[str, str]:
    """One block; ``delta`` is the branch that still has to be added to ``residual``.

    residual + delta -> norm -> attention -> (+) -> norm -> down(silu(gate) * up) -> returned as the next delta
    """
    name, path, hidden = f"model.layers.{index}", f"/model/layers.{index}", config.hidden_size
    weight = vector(context, f"{name}.input_layernorm.weight", hidden)
    if delta:
        normalized, residual = skip_rms_norm(
            context, delta, residual, weight, f"{path}/input_layernorm", epsilon=config.rms_norm_eps
        )
    else:
        normalized = rms_norm(context, residual, weight, f"{path}/input_layernorm", epsilon=config.rms_norm_eps)
    attended = _attention(context, config, inputs, index, normalized)
    weight = vector(context, f"{name}.post_attention_layernorm.weight", hidden)
    normalized, residual = skip_rms_norm(
        context, attended, residual, weight, f"{path}/post_attention_layernorm", epsilon=config.rms_norm_eps
    )
    return _gated_mlp(context, config, normalized, name, path), residual


def _attention(context: BuildContext, config: LlamaConfig, inputs: _Inputs, index: int, value: str) -> str:
    graph, name, path = context.graph, f"model.layers.{index}.self_attn", f"/model/layers.{index}/attn"
    hidden, size = config.hidden_size, config.head_size
    widths = {"q": config.num_attention_heads * size, "k": config.kv_heads * size, "v": config.kv_heads * size}
    projected = [
        linear(context, value, context.tensor(f"{name}.{letter}_proj.weight", width, hidden), f"{path}/{letter}_proj")
        for letter, width in widths.items()
    ]
    past: list[str] = []
    present: list[str] = []
    lead: tuple[str | int, ...] = ("batch_size", config.kv_heads)
    for part in ("key", "value"):
        name_in, name_out = f"past_key_values.{index}.{part}", f"present.{index}.{part}"
        past.append(graph.input(name_in, context.float_type, [*lead, "past_sequence_length", size]))
        present.append(graph.output(name_out, context.float_type, [*lead, "total_sequence_length", size]))
    attended = f"{path}/GroupQueryAttention/output_0"
    graph.append(
        "GroupQueryAttention",
        [*projected, *past, inputs.past_lengths, inputs.total_length, inputs.cosine, inputs.sine],
        [attended, *present],
        f"{path}/GroupQueryAttention",
        domain=MICROSOFT,
        num_heads=config.num_attention_heads,
        kv_num_heads=config.kv_heads,
        do_rotary=1,
    )
    weight = context.tensor(f"{name}.o_proj.weight", hidden, widths["q"])
    return linear(context, attended, weight, f"{path}/o_proj")


def _gated_mlp(context: BuildContext, config: LlamaConfig, value: str, name: str, path: str) -> str:
    graph, hidden, inner = context.graph, config.hidden_size, config.intermediate_size
    gate, up = (
        linear(context, value, context.tensor(f"{name}.mlp.{part}.weight", inner, hidden), f"{path}/mlp/{part}")
        for part in ("gate_proj", "up_proj")
    )
    # QuickGelu with alpha = 1 is SiLU: x * sigmoid(x).
    active = graph.node("QuickGelu", [gate], f"{path}/mlp/act_fn/QuickGelu", domain=MICROSOFT, alpha=1.0)[0]
    product = graph.node("Mul", [active, up], f"{path}/mlp/Mul")[0]
    return linear(
        context, product, context.tensor(f"{name}.mlp.down_proj.weight", hidden, inner), f"{path}/mlp/down_proj"
    )


def _keep_last(context: BuildContext, value: str, kept: str) -> str:
    """The last ``kept`` positions; ``Slice`` from ``-0`` keeps all."""
    graph, path = context.graph, "/model/keep_last"
    start = graph.node("Neg", [kept], f"{path}/Neg")[0]
    one = graph.constant([1], "/constants/axis_1")
    starts = graph.node("Reshape", [start, one], f"{path}/Reshape")[0]
    ends = graph.constant([INT64_MAX], "/constants/int64_max")
    return graph.node("Slice", [value, starts, ends, one], f"{path}/Slice")[0]


FAMILY = Family(tasks=("text-generation",), default_dtypes=(Dtype.Q4,), build=build)
