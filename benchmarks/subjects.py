"""Owns what is compared: one row per runtime and file format, each as that runtime's users would run it."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.model_files import DISTILBERT, DYNAMIC_INT8, MINILM, MODELS, PLAIN, SMOLLM2, SMOLLM2_FP32
from convert import manifest as manifests

OURS = "Featherweight"


@dataclass(frozen=True)
class Subject:
    """A runtime with a model in a format."""

    model: str
    runtime: str
    format: str
    driver: str
    """A file of pages/ for browsers, a module of native/ for processes."""
    options: dict[str, Any] = field(hash=False)
    """What the driver's ``load`` takes beside the number of threads."""
    once: bool = False
    """Not the best format of its runtime: one round is enough."""

    @property
    def native(self) -> bool:
        """Whether it runs outside of a browser."""
        return self.driver.startswith("native.")


def featherweight(model: str, dtype: str, directory: str | None = None) -> Subject:
    """Our engine on our files."""
    options = {"manifest": f"/{directory or model}/resolve/main/manifest.json", "dtype": dtype}
    return Subject(model, OURS, dtype, "featherweight", options)


def onnxruntime_web(model: str, dtype: str, directory: str | None = None) -> Subject:
    """onnxruntime-web on the same files."""
    name = directory or model
    folder, graph, data = _graph_files(name, dtype)
    options = {"graph": f"/{name}/resolve/main/{graph}", "data": data, "cache": _kv_cache(folder)}
    return Subject(model, "onnxruntime-web", dtype, "onnxruntime_web", options)


def onnxruntime_web_int8(model: str) -> Subject:
    """onnxruntime-web on the format in which it is fastest."""
    options: dict[str, Any] = {
        "graph": f"/bench/files/{model}/{DYNAMIC_INT8}",
        "data": [],
        "cache": _kv_cache(PLAIN / model),
    }
    return Subject(model, "onnxruntime-web", "int8 (dynamic)", "onnxruntime_web", options)


def transformers_js(model: str, dtype: str) -> Subject:
    """Transformers.js on the same files."""
    options = {"model": model, "template": "{model}/resolve/{revision}/", "dtype": dtype, "decoder": model == SMOLLM2}
    return Subject(model, "Transformers.js", dtype, "transformers_js", options)


def transformers_js_int8(model: str) -> Subject:
    """Transformers.js on the format in which its onnxruntime-web is fastest, which it calls q8."""
    options = {"model": model, "template": "bench/files/{model}/", "dtype": "q8", "decoder": model == SMOLLM2}
    return Subject(model, "Transformers.js", "int8 (dynamic)", "transformers_js", options)


def litert_js(model: str, form: str) -> list[Subject]:
    """LiteRT.js, where its files were made."""
    file = f"litert/{model}/{'model.tflite' if form == 'fp32' else 'model_int8.tflite'}"
    options = {"file": f"/bench/files/{file}"}
    return [Subject(model, "LiteRT.js", form, "litert_js", options)] if (PLAIN / file).exists() else []


def wllama(kind: str, model: str = SMOLLM2, file: str | None = None) -> Subject:
    """A GGUF file, or the first of its parts, on wllama."""
    return Subject(model, "wllama", kind, "wllama", {"gguf": f"/bench/files/gguf/{file or kind}.gguf"})


def llama_cpp(kind: str, model: str = SMOLLM2, file: str | None = None) -> Subject:
    """A GGUF file, or the first of its parts, on native llama.cpp."""
    options = {"gguf": str(PLAIN / "gguf" / f"{file or kind}.gguf")}
    return Subject(model, "llama.cpp, native", kind, "native.llama_cpp", options)


def onnxruntime(model: str, dtype: str, directory: str | None = None) -> Subject:
    """Native ONNX Runtime on the same files."""
    folder, graph, _ = _graph_files(directory or model, dtype)
    options = {"graph": str(folder / graph), "cache": _kv_cache(folder)}
    return Subject(model, "onnxruntime, native", dtype, "native.onnx_runtime", options)


def onnxruntime_int8(model: str) -> Subject:
    """Native ONNX Runtime on dynamic int8."""
    options = {"graph": str(PLAIN / model / DYNAMIC_INT8), "cache": _kv_cache(PLAIN / model)}
    return Subject(model, "onnxruntime, native", "int8 (dynamic)", "native.onnx_runtime", options)


def decoders() -> list[Subject]:
    """Everything that runs SmolLM2."""
    best = [
        featherweight(SMOLLM2, "q4"),
        onnxruntime_web_int8(SMOLLM2),
        llama_cpp("Q4_0"),
        wllama("Q8_0"),
        featherweight(SMOLLM2, "q8"),
        transformers_js_int8(SMOLLM2),
        onnxruntime_int8(SMOLLM2),
    ]
    others = [
        featherweight(SMOLLM2, "fp32", SMOLLM2_FP32),
        onnxruntime_web(SMOLLM2, "fp32", SMOLLM2_FP32),
        onnxruntime_web(SMOLLM2, "q8"),
        onnxruntime_web(SMOLLM2, "q4"),
        transformers_js(SMOLLM2, "q4"),
        wllama("Q4_0"),
        wllama("Q4_1"),
        llama_cpp("Q4_1"),
        llama_cpp("Q8_0"),
        onnxruntime(SMOLLM2, "q4"),
    ]
    return best + [replace(subject, once=True) for subject in others]


def encoders() -> list[Subject]:
    """Everything that runs the two encoders."""
    best = [
        subject
        for model in (MINILM, DISTILBERT)
        for subject in (
            featherweight(model, "q8"),
            onnxruntime_web_int8(model),
            featherweight(model, "fp32"),
            onnxruntime_web(model, "fp32"),
            *litert_js(model, "int8 (dynamic)"),
            *litert_js(model, "fp32"),
        )
    ]
    others = [
        subject
        for model in (MINILM, DISTILBERT)
        for subject in (
            onnxruntime_web(model, "q8"),
            transformers_js_int8(model),
            onnxruntime_int8(model),
            onnxruntime(model, "fp32"),
        )
    ]
    return best + [replace(subject, once=True) for subject in others]


def _graph_files(directory: str, dtype: str) -> tuple[Path, str, list[str]]:
    """The model directory, the graph in it, and the names of its external data beside it."""
    folder = MODELS / directory
    variant = manifests.load(folder / manifests.NAME).variant(dtype)
    return folder, variant.graph, [Path(shard).name for shard in variant.shards]


def _kv_cache(folder: Path) -> dict[str, int] | None:
    """Heads and their width in the KV cache of a decoder; None for an encoder."""
    config = json.loads((folder / "config.json").read_text())
    if "num_key_value_heads" not in config:
        return None
    return {"heads": config["num_key_value_heads"], "width": config["head_dim"]}
