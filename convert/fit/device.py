"""Owns a device's profile, as the page writes it (static/device/profile.js): facts, and rates once measured."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from convert.errors import FeatherweightError

LIMIT_BYTES = 1 << 20
GPU_LIMITS = ("max_storage_buffer_binding_size", "max_buffer_size")


class BadProfile(FeatherweightError):
    """The file is no profile of a device."""


@dataclass(frozen=True)
class ThreadRates:
    """Rates of the engine's kernels with so many threads.

    ``linear`` maps an operator class to bytes a second (one row) and multiply-adds a second (many rows), ``attention``
    likewise for bytes of the KV cache. ``step_s``, ``call_s`` and ``logit_s`` are seconds for a step of the plan, a
    call and an entry of the vocabulary.
    """

    threads: int
    linear: dict[str, dict[str, float]]
    attention: dict[str, float]
    elementwise_bytes_per_s: float
    step_s: float
    call_s: float
    logit_s: float


@dataclass(frozen=True)
class GpuRates:
    """What was measured on a GPU: seconds of a dispatch and of a call, bytes and multiply-adds a second."""

    step_s: float
    call_s: float
    bytes_per_s: float
    macs_per_s: float

    def as_threads(self, processor: ThreadRates) -> ThreadRates:
        """The same in the form of a processor's: one rate for all matrices, a dispatch for a step."""
        rate = {"bytes_per_s": self.bytes_per_s, "macs_per_s": self.macs_per_s}
        return ThreadRates(
            threads=1,
            linear={"linear_float": rate},
            attention=rate,
            elementwise_bytes_per_s=self.bytes_per_s,
            step_s=self.step_s,
            call_s=processor.call_s + self.call_s,
            logit_s=processor.logit_s,
        )


@dataclass(frozen=True)
class Rates:
    """What was measured on a device; see static/device/rates.js."""

    by_threads: tuple[ThreadRates, ...]
    start_s: float
    stored_bytes_per_s: float
    download_bytes_per_s: float | None
    gpu: GpuRates | None

    def of(self, threads: int) -> ThreadRates:
        """Rates for a thread count: those of the largest measured one that is not above it."""
        return next((entry for entry in reversed(self.by_threads) if entry.threads <= threads), self.by_threads[0])


@dataclass(frozen=True)
class Device:
    """Facts that a browser told, and rates or None."""

    threads: int
    parallel: bool
    simd: bool
    hardware_gpu: bool
    gpu_features: frozenset[str]
    gpu_tensor_bytes: float
    """What the GPU takes of one weight: the smaller of its limits for a binding and for a buffer."""
    free_bytes: int | None
    downlink_mbps: float | None
    memory_gib: float | None
    rates: Rates | None


def read_device(path: Path) -> Device:
    """Read a profile.

    Raises:
        BadProfile: too large, no JSON, or not what device.schema.json asks for.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadProfile(f"{path}: cannot be read ({error.strerror}); download a profile from the page") from error
    if len(data) > LIMIT_BYTES:
        raise BadProfile(f"{path}: has {len(data)} bytes, a profile of a device has at most {LIMIT_BYTES}")
    try:
        profile = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadProfile(f"{path}: no JSON ({error}); download a profile from the page") from error
    defect = min(_validator().iter_errors(profile), key=lambda found: str(found.json_path), default=None)
    if defect is not None:
        raise BadProfile(f"{path}: {defect.json_path} is refused: {defect.message[:200]}")
    return parse_device(profile)


def parse_device(profile: dict[str, Any]) -> Device:
    """A checked profile as a Device."""
    storage, connection, webgpu, rates = (profile[name] for name in ("storage", "connection", "webgpu", "rates"))
    return Device(
        threads=profile["threads"],
        parallel=profile["cross_origin_isolated"] and profile["wasm"]["threads"],
        simd=profile["wasm"]["simd"],
        hardware_gpu=webgpu is not None and not webgpu["is_fallback"],
        gpu_features=frozenset(webgpu["features"] if webgpu else ()),
        gpu_tensor_bytes=min(webgpu["limits"][name] for name in GPU_LIMITS) if webgpu else 0,
        free_bytes=storage["quota_bytes"] - storage["usage_bytes"] if storage else None,
        downlink_mbps=connection["downlink_mbps"] if connection else None,
        memory_gib=profile["device_memory_gib"],
        rates=Rates(
            by_threads=tuple(ThreadRates(**entry) for entry in rates["by_threads"]),
            start_s=rates["start_s"],
            stored_bytes_per_s=rates["stored_bytes_per_s"],
            download_bytes_per_s=rates["download_bytes_per_s"],
            gpu=GpuRates(**rates["gpu"]) if rates.get("gpu") else None,
        )
        if rates
        else None,
    )


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # slow to import

    return Draft202012Validator(json.loads(Path(__file__).with_name("device.schema.json").read_text("utf-8")))
