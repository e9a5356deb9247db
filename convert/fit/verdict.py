"""Owns the weighing of one variant, as static/device/fit.js and prediction.js have it: the same numbers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, exp, inf
from pathlib import Path
from typing import TypedDict

from convert.dtypes import Dtype
from convert.fit.cost_model import (
    RUNTIME_BYTES,
    Room,
    decode_seconds,
    encode_seconds,
    engine_bytes,
    first_token_seconds,
    ort_peak_bytes,
    room_for,
    start_seconds,
)
from convert.fit.device import Device, Rates
from convert.manifest import Manifest, Variant

COVERAGE = 0.9
PROMPT_TOKENS = 128
GIB = 1 << 30
DEVICE_MEMORY_SHARE = 0.5
ADDRESS_SPACE_BYTES = 4 * GIB
SMOOTH_TOKENS_PER_S = 7
SMOOTH_FIRST_TOKEN_S = {"decoder": 5, "encoder": 1}
DOWNLINK_CAP_MBPS = 10
FASTEST_MBPS = 1000
RATE_TOLERANCE = 1.3
METRICS = ("load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes")

Interval = tuple[float, float]


class Download(TypedDict):
    """``bytes`` of the whole variant; ``seconds`` for those that remain."""

    bytes: int
    remaining_bytes: int
    seconds: Interval | None


class Memory(TypedDict):
    """Bytes, and what the limit is taken from."""

    need: int
    limit: float
    basis: str


@dataclass(frozen=True)
class Plan:
    """What the verdict is about."""

    dtype: str
    backend: str
    threads: int
    context_length: int
    prompt_tokens: int
    past_tokens: int


@dataclass(frozen=True)
class Weighing:
    """Bytes and seconds; an interval holds nine in ten measurements; None is not known."""

    supported: bool
    smooth: bool | None
    download: Download
    memory: Memory
    storage: dict[str, float | None]
    load_s: Interval | None
    ttft_s: Interval | None
    decode_tokens_per_s: Interval | None
    expected: dict[str, float | None] | None
    plan: Plan


def fit_variant(
    device: Device,
    manifest: Manifest,
    variant: Variant,
    *,
    context_length: int | None = None,
    prompt_tokens: int = PROMPT_TOKENS,
    threads: int | None = None,
    backend: str = "auto",
) -> Weighing:
    """Say whether a variant fits a device, and how fast it will be."""
    model = manifest.model
    context = min(context_length or model.context_length, model.context_length)
    prompt = min(prompt_tokens, context)
    count = (threads or default_threads(device.threads)) if device.parallel else 1
    plan = Plan(str(variant.dtype), backend, count, context, prompt, prompt)
    taken = _backend(backend, device, variant)
    own = taken == "wasm"
    raw = _raw(device.rates, manifest, variant, plan, taken) if device.rates else None
    # No runs on GPUs have been published: how far off their predictions are is not known.
    intervals = {name: _interval(value, name) for name, value in raw.items()} if raw and own else dict.fromkeys(METRICS)
    need = _need(variant, room_for(model, variant, context), own)
    limit, basis = _memory_limit(device)
    size = variant.download_bytes
    room = device.free_bytes
    return Weighing(
        supported=device.simd and need <= limit and (room is None or size <= room),
        smooth=_is_smooth(raw) if raw and own else None,
        download={"bytes": size, "remaining_bytes": size, "seconds": _download_seconds(size, device)},
        memory={"need": need, "limit": limit, "basis": basis},
        storage={"need": size, "available": room},
        load_s=intervals["load_s"],
        ttft_s=intervals["time_to_first_token_s"],
        decode_tokens_per_s=intervals["decode_tokens_per_s"],
        expected=raw,
        plan=plan,
    )


def default_threads(hardware_threads: int) -> int:
    """All cores of small devices; about the physical ones of larger."""
    threads = hardware_threads or 1
    return threads if threads <= 4 else min(8, ceil(threads / 2))


def conformal_factor(scores: list[float], coverage: float = COVERAGE) -> float:
    """Half-width of the interval as a factor: split conformal prediction, see static/device/intervals.js."""
    if not scores:
        return inf
    ordered = sorted(scores)
    rank = ceil((len(ordered) + 1) * coverage)
    return exp(ordered[rank - 1] if rank <= len(ordered) else 2 * ordered[-1])


def _raw(
    rates: Rates, manifest: Manifest, variant: Variant, plan: Plan, backend: str
) -> dict[str, float | None] | None:
    model, cost, own = manifest.model, variant.cost, backend == "wasm"
    measured = rates.of(plan.threads)
    if not own:
        if backend != "ort-webgpu" or rates.gpu is None:
            return None
        measured = rates.gpu.as_threads(rates.by_threads[0])
    size = variant.download_bytes
    download = size / rates.download_bytes_per_s if rates.download_bytes_per_s else None
    found: dict[str, float | None] = {
        "load_s": None if download is None or not own else max(download, start_seconds(size, rates)),
        "peak_memory_bytes": engine_bytes(variant, room_for(model, variant, plan.context_length)) if own else None,
    }
    if not model.kv_cache:
        seconds = encode_seconds(cost, measured, plan.prompt_tokens)
        speed = plan.prompt_tokens / seconds
        return found | {
            "time_to_first_token_s": seconds,
            "prefill_tokens_per_s": speed,
            "decode_tokens_per_s": None,
        }
    if variant.encoder:
        first = decode_seconds(cost, measured, 0, model.vocab_size, text=plan.prompt_tokens)
        seconds = encode_seconds(variant.encoder.cost, measured, plan.prompt_tokens) + first
        return found | {
            "time_to_first_token_s": seconds,
            "prefill_tokens_per_s": plan.prompt_tokens / seconds,
            "decode_tokens_per_s": 1 / decode_seconds(cost, measured, 0, model.vocab_size, text=plan.past_tokens),
        }
    prefill = first_token_seconds(cost, measured, plan.prompt_tokens, model.vocab_size)
    return found | {
        "time_to_first_token_s": prefill + measured.call_s,
        "prefill_tokens_per_s": plan.prompt_tokens / prefill,
        "decode_tokens_per_s": 1 / decode_seconds(cost, measured, plan.past_tokens, model.vocab_size),
    }


def _need(variant: Variant, room: Room, own: bool) -> int:
    if not own:
        return round(ort_peak_bytes(variant.weight_bytes, variant.cost, room.cache_tokens))
    return round(RUNTIME_BYTES + engine_bytes(variant, room))


def _interval(value: float | None, metric: str) -> Interval | None:
    if value is None:
        return None
    factor = conformal_factor(list(_published_scores()[metric]))
    return value / factor, value * factor


def _is_smooth(raw: Mapping[str, float | None]) -> bool:
    first, decode = raw["time_to_first_token_s"] or inf, raw["decode_tokens_per_s"]
    if decode is None:
        return first <= SMOOTH_FIRST_TOKEN_S["encoder"]
    return first <= SMOOTH_FIRST_TOKEN_S["decoder"] and decode >= SMOOTH_TOKENS_PER_S


def _backend(asked: str, device: Device, variant: Variant) -> str:
    """The backend that "auto" takes first (static/backends/registry.js)."""
    if asked != "auto":
        return asked
    half = variant.dtype in {Dtype.FP16, Dtype.Q4F16}
    able = variant.encoder is None and (not half or "shader-f16" in device.gpu_features)
    able = able and variant.largest_tensor_bytes <= device.gpu_tensor_bytes
    return "ort-webgpu" if device.hardware_gpu and able else "wasm"


def _memory_limit(device: Device) -> tuple[float, str]:
    room = (device.memory_gib or inf) * GIB * DEVICE_MEMORY_SHARE
    if room < ADDRESS_SPACE_BYTES:
        return room, f"half of the {device.memory_gib:g} GiB that the browser reports"
    return ADDRESS_SPACE_BYTES, "the 4 GiB that WebAssembly can address"


def _download_seconds(size: int, device: Device) -> Interval | None:
    measured = device.rates.download_bytes_per_s if device.rates else None
    if measured:
        return size / (RATE_TOLERANCE * measured), RATE_TOLERANCE * size / measured
    if not device.downlink_mbps:
        return None
    bits = size * 8 / 1e6
    fastest = FASTEST_MBPS if device.downlink_mbps >= DOWNLINK_CAP_MBPS else 2 * device.downlink_mbps
    return bits / fastest, bits / (device.downlink_mbps / 2)


@cache
def _published_scores() -> Mapping[str, list[float]]:
    found: Mapping[str, list[float]] = json.loads(Path(__file__).with_name("calibration.json").read_text("utf-8"))
    return found
