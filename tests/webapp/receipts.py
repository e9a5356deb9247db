"""A receipt as an honest page makes it."""

import uuid
from typing import Any

METRICS = ("load_s", "time_to_first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s", "peak_memory_bytes")


def honest_receipt(model: dict[str, str], interval: list[float], measured: dict[str, float]) -> dict[str, Any]:
    """A receipt of ``model`` (id, revision, dtype); ``interval`` is what was predicted of the decode rate."""
    return {
        "format": "featherweight-receipt",
        "version": 1,
        "id": str(uuid.uuid4()),
        "model": model,
        "run": {"backend": "wasm", "threads": 2, "prompt_tokens": 128, "generated_tokens": 64},
        "device": {
            "platform": "linux",
            "browser": "chromium",
            "cores": "2",
            "memory_gib": "8",
            "bandwidth_gb_per_s": "16-32",
            "wasm": "relaxed_simd",
            "isolated": True,
            "gpu": "none",
        },
        "predicted": dict.fromkeys(METRICS) | {"decode_tokens_per_s": interval},
        "measured": dict.fromkeys(METRICS) | measured,
    }
