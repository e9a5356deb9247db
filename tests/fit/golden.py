"""The golden verdicts of tests/data/fit.json, for both languages; ``python -m tests.fit.golden`` writes them."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convert import manifest
from convert.dtypes import Dtype
from convert.fit.choice import fit_model
from convert.fit.device import parse_device
from convert.kv_cache import KvCache
from convert.shards import hash_file

GOLDEN = Path(__file__).parent.parent / "data" / "fit.json"

MODELS: dict[str, dict[str, Any]] = {
    # "weights": bytes of all of them and of the largest, by dtype; "classes": bytes and multiply-adds a token.
    "decoder": {
        "kv_cache": KvCache(layers=26, kv_heads=4, head_dim=256),
        "context_length": 8192,
        "weights": {
            Dtype.Q4: (1_200_000_000, 590_000_000),
            Dtype.Q8: (2_300_000_000, 590_000_000),
            Dtype.FP16: (5_100_000_000, 1_180_000_000),
        },
        "classes": {
            "linear_4bit": (1_100_000_000, 1_950_000_000),
            "head_8bit": (620_000_000, 590_000_000),
            "attention": (14_336, 57_344),
            "attention_window_512": (90_112, 360_448),
            "elementwise": (9_000_000, 0),
        },
        "steps": 420,
    },
    "wide": {
        "kv_cache": KvCache(layers=16, kv_heads=8, head_dim=64),
        "context_length": 2048,
        "weights": {
            Dtype.Q4: (1_100_000_000, 130_000_000),
            Dtype.Q8: (1_900_000_000, 130_000_000),
            Dtype.Q4F16: (700_000_000, 130_000_000),
        },
        "classes": {
            "linear_4bit": (640_000_000, 1_130_000_000),
            "head_4bit": (150_000_000, 260_000_000),
            "attention": (32_768, 131_072),
            "elementwise": (4_000_000, 0),
        },
        "steps": 260,
    },
    "encoder": {
        "kv_cache": None,
        "context_length": 512,
        "weights": {Dtype.Q8: (24_000_000, 11_700_000)},
        "classes": {
            "linear_8bit": (11_280_384, 10_616_832),
            "attention": (18_432, 4_608),
            "elementwise": (314_304, 0),
        },
        "steps": 82,
    },
    "encoder-of-many-words": {
        "kv_cache": None,
        "context_length": 512,
        "weights": {Dtype.Q8: (290_000_000, 192_000_000), Dtype.FP32: (1_100_000_000, 768_000_000)},
        "classes": {
            "linear_8bit": (90_240_000, 84_930_000),
            "attention": (73_728, 18_432),
            "elementwise": (1_257_000, 0),
        },
        "steps": 164,
    },
    "encoder-decoder": {
        "kv_cache": KvCache(layers=6, kv_heads=8, head_dim=64),
        "context_length": 512,
        "weights": {Dtype.FP32: (240_000_000, 66_000_000), Dtype.Q8: (66_000_000, 16_000_000)},
        "classes": {
            "linear_8bit": (41_000_000, 38_000_000),
            "linear_float": (1_000_000, 450_000),
            "attention": (12_288, 6_144),
            "cross_attention": (12_288, 6_144),
            "elementwise": (400_000, 0),
        },
        "steps": 130,
        "encoder": {
            "linear_8bit": (27_000_000, 25_000_000),
            "linear_float": (2_000_000, 900_000),
            "attention": (24_576, 6_144),
            "elementwise": (500_000, 0),
        },
    },
}
RATES = {
    "measured_on": "2026-11-21",
    "read_bytes_per_s": 11e9,
    "start_s": 0.21,
    "stored_bytes_per_s": 4.5e8,
    "download_bytes_per_s": 2.6e6,
    "by_threads": [
        {
            "threads": threads,
            "linear": {
                "linear_4bit": {"bytes_per_s": 8.1e9 * gain, "macs_per_s": 2.9e10 * gain},
                "linear_8bit": {"bytes_per_s": 7.7e9 * gain, "macs_per_s": 3.1e10 * gain},
                "linear_float": {"bytes_per_s": 9.2e9 * gain, "macs_per_s": 2.2e10 * gain},
            },
            "attention": {"bytes_per_s": 5.1e9 * gain, "macs_per_s": 6.4e9 * gain},
            "elementwise_bytes_per_s": 8.8e9 * gain,
            "step_s": 4e-7,
            "call_s": 2e-4,
            "logit_s": 1.1e-9,
        }
        for threads, gain in ((1, 1.0), (2, 1.83), (4, 3.1))
    ],
}


def gpu(max_buffer_size: int, max_storage_buffer_binding_size: int) -> dict[str, Any]:
    """A hardware GPU with these limits, in bytes."""
    limits = {
        "max_buffer_size": max_buffer_size,
        "max_storage_buffer_binding_size": max_storage_buffer_binding_size,
    }
    return {"is_fallback": False, "features": [], "limits": limits}


PROFILES: dict[str, dict[str, Any]] = {
    "laptop": {"threads": 6, "cross_origin_isolated": True, "device_memory_gib": 8, "rates": RATES, "gpu": None},
    "phone": {"threads": 8, "cross_origin_isolated": False, "device_memory_gib": 2, "rates": RATES, "gpu": None},
    "unmeasured": {
        "threads": 2,
        "cross_origin_isolated": True,
        "device_memory_gib": None,
        "rates": None,
        "gpu": gpu(1 << 28, 1 << 27),
    },
    "desktop": {
        "threads": 12,
        "cross_origin_isolated": True,
        "device_memory_gib": 32,
        "rates": {**RATES, "gpu": {"step_s": 6e-6, "call_s": 4e-4, "bytes_per_s": 3.1e11, "macs_per_s": 4.2e12}},
        "gpu": gpu(1 << 28, (1 << 31) - 4),
    },
}
CASES: list[dict[str, Any]] = [
    {"profile": profile, "model": model, **options}
    for profile in PROFILES
    for model, options in (
        ("decoder", {}),
        ("decoder", {"dtype": "q4", "context_length": 2048, "prompt_tokens": 300, "threads": 2}),
        ("decoder", {"dtype": "q4", "context_length": 128, "backend": "wasm"}),
        ("decoder", {"dtype": "fp16", "backend": "ort-wasm"}),
        ("wide", {}),
        ("encoder", {"prompt_tokens": 16}),
        ("encoder", {"prompt_tokens": 4096, "threads": 1}),
        ("encoder-of-many-words", {"dtype": "q8"}),
        ("encoder-of-many-words", {"dtype": "fp32"}),
        ("encoder-decoder", {"dtype": "q8"}),
        ("encoder-decoder", {"dtype": "fp32", "prompt_tokens": 300, "context_length": 400}),
    )
]


def profile_of(name: str) -> dict[str, Any]:
    """A whole profile."""
    facts = dict(PROFILES[name])
    return {
        "format": "featherweight-device",
        "version": 1,
        "wasm": {"simd": True, "relaxed_simd": True, "threads": True, "memory64": False},
        "webgpu": facts.pop("gpu"),
        "storage": {"quota_bytes": 6e9, "usage_bytes": 1.5e9, "persisted": False},
        "connection": {"downlink_mbps": 10, "rtt_ms": 50, "save_data": False},
        **facts,
    }


def cost_of(classes: dict[str, tuple[int, int]], steps: int, cache: int) -> manifest.Cost:
    """Bytes and multiply-adds by operator class."""
    costs = {kind: manifest.OperatorCost(bytes=size, macs=macs) for kind, (size, macs) in classes.items()}
    return manifest.Cost(per_token=costs, steps=steps, kv_bytes_per_token=cache, activation_bytes_per_token=90_000)


def manifest_of(name: str) -> str:
    """A sound manifest, as text; its shards have a byte for each MiB that the costs speak of."""
    facts = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "onnx").mkdir()
        files = []
        variants = []
        for dtype, (weight_bytes, largest_tensor_bytes) in facts["weights"].items():
            graph, shard = f"onnx/model{dtype.suffix}.onnx", f"onnx/model{dtype.suffix}.onnx_data"
            sizes = {graph: 100, shard: weight_bytes >> 20}
            reader = f"onnx/encoder_model{dtype.suffix}.onnx" if "encoder" in facts else ""
            for path, size in (sizes | ({reader: 90} if reader else {})).items():
                (root / path).write_bytes(bytes(size))
                files.append(hash_file(root / path, path))
            kept = facts["classes"]
            cache = sum(kept[kind][0] for kind in kept if kind.startswith("attention")) if facts["kv_cache"] else 0
            variants.append(
                manifest.VariantSpec(
                    dtype=dtype,
                    block_size=32 if dtype.linear_bits else None,
                    lossless_import=False,
                    graph=graph,
                    shards=(shard,),
                    weight_bytes=weight_bytes,
                    largest_tensor_bytes=largest_tensor_bytes,
                    cost=cost_of(kept, facts["steps"], cache),
                    encoder=manifest.GraphSpec(graph=reader, shards=(), cost=cost_of(facts["encoder"], 90, 0))
                    if reader
                    else None,
                )
            )
        model = manifest.Model(
            id=name,
            name=name,
            family="llama" if facts["kv_cache"] else "distilbert",
            task="text-generation" if facts["kv_cache"] else "feature-extraction",
            parameters=1,
            license="apache-2.0",
            context_length=facts["context_length"],
            vocab_size=32_000,
            kv_cache=facts["kv_cache"],
        )
        source = {"kind": "bundled", "name": name, "revision": "sha256:0"}
        built = manifest.build(model=model, source=source, files=files, variants=variants)
        return manifest.write(built, root).read_text("utf-8")


def verdict(case: dict[str, Any]) -> dict[str, Any]:
    """What the Python half says."""
    options = {name: value for name, value in case.items() if name not in {"profile", "model", "dtype"}}
    content = manifest.parse(manifest_of(case["model"]).encode())
    device = parse_device(profile_of(case["profile"]))
    found: dict[str, Any] = json.loads(json.dumps(asdict(fit_model(device, content, case.get("dtype"), **options))))
    return found


def golden() -> dict[str, Any]:
    """The whole file."""
    return {
        "manifests": {name: manifest_of(name) for name in MODELS},
        "profiles": {name: profile_of(name) for name in PROFILES},
        "cases": [{**case, "verdict": verdict(case)} for case in CASES],
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
