"""Owns the arithmetic of speed and memory, as static/device/cost_model.js has it: the same constants, the same sums."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf

from convert.fit.device import Rates, ThreadRates
from convert.manifest import Cost, Model, Variant

MIB = 1 << 20
PREFILL_ROWS = 128
ENCODER_ROWS = 512
RUNTIME_BYTES = 64 * MIB
ENGINE_BYTES = MIB
FLOAT_BYTES = {"fp32": 4, "fp16": 2}
PAGE_TOKENS = 256
TIMED_MACS_PER_BYTE = 2
ORT_WEIGHT_COPIES = 2
ORT_CACHE_COPIES = 3
ORT_CACHE_WIDTH = 2

_ATTENTION = re.compile(r"attention(?:_window_(\d+))?")
_CROSS_ATTENTION = "cross_attention"


def run_seconds(cost: Cost, rates: ThreadRates, rows: int, past: int, text: int = 0) -> float:
    """Seconds of one run of ``rows`` tokens after ``past`` others, in answer to ``text`` tokens."""
    seconds = cost.steps * rates.step_s
    for name, work in cost.per_token.items():
        attention = _ATTENTION.fullmatch(name)
        if name.startswith(("linear_", "head_")):
            rate = rates.linear.get(name.replace("head_", "linear_"), rates.linear["linear_float"])
            one = work.bytes / rate["bytes_per_s"]
            seconds += one if name.startswith("head_") else max(one, work.macs * rows / rate["macs_per_s"])
        elif attention:
            window = float(attention[1] or inf)
            seen = work.macs * _tokens_seen(rows, past, window)
            seconds += _attention_seconds(work.bytes * min(window, past + rows), seen, rates.attention)
        elif name == _CROSS_ATTENTION:
            seconds += text * _attention_seconds(work.bytes, work.macs * rows, rates.attention)
        else:
            seconds += work.bytes * rows / rates.elementwise_bytes_per_s
    return seconds


def first_token_seconds(cost: Cost, rates: ThreadRates, prompt_tokens: int, vocab_size: int) -> float:
    """Seconds until the first token of an answer, the prompt in runs of PREFILL_ROWS."""
    seconds = vocab_size * rates.logit_s
    for done in range(0, prompt_tokens, PREFILL_ROWS):
        seconds += run_seconds(cost, rates, min(PREFILL_ROWS, prompt_tokens - done), done)
    return seconds


def decode_seconds(cost: Cost, rates: ThreadRates, past: int, vocab_size: int, text: int = 0) -> float:
    """Seconds of one token of an answer, to ``text`` tokens where an encoder read them."""
    return run_seconds(cost, rates, 1, past, text) + vocab_size * rates.logit_s + rates.call_s


def encode_seconds(cost: Cost, rates: ThreadRates, tokens: int) -> float:
    """Seconds that an encoder takes for one text."""
    others = {name: work for name, work in cost.per_token.items() if name != "attention"}
    plain = Cost(
        per_token=others,
        steps=cost.steps,
        kv_bytes_per_token=cost.kv_bytes_per_token,
        activation_bytes_per_token=cost.activation_bytes_per_token,
    )
    seconds = rates.call_s + run_seconds(plain, rates, tokens, 0)
    attention = cost.per_token.get("attention")
    return seconds + (attention.macs * tokens * tokens / rates.attention["macs_per_s"] if attention else 0.0)


@dataclass(frozen=True)
class Room:
    """What a model is weighed with: tokens in its cache, and rows of its largest run."""

    cache_tokens: int
    rows: int


def room_for(model: Model, variant: Variant, context_length: int) -> Room:
    """A decoder's cache holds the context, an encoder-decoder's a text and its answer."""
    if variant.encoder:
        return Room(2 * context_length, context_length)
    return Room(context_length, PREFILL_ROWS) if model.kv_cache else Room(0, ENCODER_ROWS)


def engine_bytes(variant: Variant, room: Room) -> float:
    """Bytes at the peak of the project's own engine."""
    pages = ceil(room.cache_tokens / PAGE_TOKENS)
    weights: float = variant.weight_bytes
    for spec in variant.graphs:
        packed = spec.cost.per_token.get("linear_float")
        weights += packed.bytes - packed.macs * FLOAT_BYTES.get(str(variant.dtype), 4) if packed else 0
    cost = variant.cost
    cache = cost.kv_bytes_per_token * pages * PAGE_TOKENS
    return ENGINE_BYTES + weights + cache + cost.activation_bytes_per_token * room.rows


def ort_peak_bytes(weight_bytes: int, cost: Cost, cache_tokens: int) -> float:
    """The same for onnxruntime-web."""
    cache = ORT_CACHE_COPIES * ORT_CACHE_WIDTH * cost.kv_bytes_per_token * cache_tokens
    return RUNTIME_BYTES + ORT_WEIGHT_COPIES * weight_bytes + cache + cost.activation_bytes_per_token * PREFILL_ROWS


def start_seconds(download_bytes: int, rates: Rates) -> float:
    """Seconds from the click to a model that is ready, when everything is stored."""
    return rates.start_s + download_bytes / rates.stored_bytes_per_s


def _attention_seconds(size: float, macs: float, rate: Mapping[str, float]) -> float:
    return size / rate["bytes_per_s"] + max(0.0, macs - TIMED_MACS_PER_BYTE * size) / rate["macs_per_s"]


def _tokens_seen(rows: int, past: int, window: float) -> float:
    growing = max(0, min(rows, window - past))
    beyond = rows - growing
    return growing * past + growing * (growing + 1) / 2 + (beyond * min(window, past + rows) if beyond else 0)
