"""Owns the choice among a model's variants, as static/device/choice.js has it, and what its neighbours would give."""

from dataclasses import dataclass

from convert.errors import FeatherweightError
from convert.fit.device import Device
from convert.fit.verdict import PROMPT_TOKENS, Interval, Weighing, fit_variant
from convert.manifest import Manifest, Variant

DTYPE_PREFERENCE = ("q4", "q8", "q4f16", "fp16", "fp32")


class UnknownVariant(FeatherweightError):
    """The manifest has no variant of that dtype."""


@dataclass(frozen=True)
class Alternative:
    """What another variant would give in place of the chosen one."""

    dtype: str
    supported: bool
    smooth: bool | None
    download_bytes: int
    memory_bytes: int
    ttft_s: Interval | None
    decode_tokens_per_s: Interval | None


@dataclass(frozen=True)
class Alternatives:
    """The next by download; None where there is none."""

    smaller: Alternative | None
    larger: Alternative | None


@dataclass(frozen=True)
class Verdict(Weighing):
    """What is said of a model: the weighing of one variant, and what its neighbours would give."""

    alternatives: Alternatives


def fit_model(
    device: Device,
    manifest: Manifest,
    dtype: str | None = None,
    *,
    context_length: int | None = None,
    prompt_tokens: int = PROMPT_TOKENS,
    threads: int | None = None,
    backend: str = "auto",
) -> Verdict:
    """Weigh a variant of a model, and say what its neighbours would give.

    Args:
        dtype: of the variant. None takes the first of q4, q8, q4f16, fp16, fp32 that fits and is smooth, as far as is
            known; where none is smooth the fastest that fits; where none fits the one that needs the least memory.

    Raises:
        UnknownVariant: the manifest has none of that dtype.
    """
    options = {"context_length": context_length, "threads": threads}
    found = {
        str(each.dtype): fit_variant(device, manifest, each, prompt_tokens=prompt_tokens, backend=backend, **options)
        for each in manifest.variants
    }
    names = [dtype] if dtype else [name for name in DTYPE_PREFERENCE if name in found]
    if not names or names[0] not in found:
        raise UnknownVariant(
            f"{manifest.model.id} has no variant {dtype or 'that is known here'}; it has {', '.join(found)}"
        )
    chosen = _best([found[name] for name in names])
    by_size = [str(each.dtype) for each in sorted(manifest.variants, key=_download_bytes)]
    at = by_size.index(chosen.plan.dtype)
    alternatives = Alternatives(
        smaller=_alternative(found[by_size[at - 1]]) if at > 0 else None,
        larger=_alternative(found[by_size[at + 1]]) if at + 1 < len(by_size) else None,
    )
    return Verdict(**vars(chosen), alternatives=alternatives)


def _best(weighings: list[Weighing]) -> Weighing:
    fitting = [each for each in weighings if each.supported]
    smooth = next((each for each in fitting if each.smooth is not False), None)
    if smooth:
        return smooth
    return max(fitting, key=_speed) if fitting else min(weighings, key=lambda each: each.memory["need"])


def _speed(weighing: Weighing) -> float:
    expected = weighing.expected or {}
    return expected.get("decode_tokens_per_s") or expected.get("prefill_tokens_per_s") or 0.0


def _download_bytes(variant: Variant) -> int:
    return variant.download_bytes


def _alternative(weighing: Weighing) -> Alternative:
    return Alternative(
        dtype=weighing.plan.dtype,
        supported=weighing.supported,
        smooth=weighing.smooth,
        download_bytes=weighing.download["bytes"],
        memory_bytes=weighing.memory["need"],
        ttft_s=weighing.ttft_s,
        decode_tokens_per_s=weighing.decode_tokens_per_s,
    )
