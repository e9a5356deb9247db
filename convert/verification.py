"""Checks a model directory against its manifest, its graphs against ONNX, and runs every variant once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from convert import manifest
from convert.inspection import load_graph
from convert.progress import Progress
from convert.shards import FileEntry, hash_file

# Kernels of ONNX Runtime in the default domain that the ONNX checker does not know.
_RUNTIME_OPERATORS = ("SimplifiedLayerNormalization",)


@dataclass(frozen=True)
class VerificationReport:
    """What was checked, and every problem as one sentence; sound when there is none."""

    files: int
    size_bytes: int
    variants: list[str]
    problems: list[str]


def verify_model(model_dir: Path, progress: Progress, *, run: bool = True) -> VerificationReport:
    """Hash every file and chunk, look for stray files, check the graphs and run each variant in onnxruntime.

    Variants run only when everything before was sound. Raises BadModelDirectory when there is no sound manifest.
    """
    content = manifest.load(model_dir)
    problems = [*_stray(model_dir, content)]
    progress.start("verify", sum(entry.size_bytes for entry in content.files.values()))
    for entry in content.files.values():
        progress.message(entry.path)
        problems.extend(_hashes(model_dir, entry, progress))
    if not problems:
        for variant in content.variants:
            problems.extend(_graph(model_dir, variant, content))
    if run and not problems:
        for variant in content.variants:
            progress.message(f"running {variant.dtype}")
            problems.extend(_run(model_dir, variant, content.model.vocab_size))
    return VerificationReport(
        files=len(content.files),
        size_bytes=sum(entry.size_bytes for entry in content.files.values()),
        variants=[str(variant.dtype) for variant in content.variants],
        problems=problems,
    )


def _stray(model_dir: Path, content: manifest.Manifest) -> Iterator[str]:
    known = {*content.files, manifest.NAME}
    for path in sorted(model_dir.rglob("*")):
        name = path.relative_to(model_dir).as_posix()
        if path.is_file() and name not in known:
            yield f"{name}: not in the manifest; remove it or convert again"


def _hashes(model_dir: Path, entry: FileEntry, progress: Progress) -> Iterator[str]:
    path = model_dir / entry.path
    if not path.is_file():
        yield f"{entry.path}: missing; convert again"
        return
    found = hash_file(path, entry.path, progress.advance)
    if found.size_bytes != entry.size_bytes:
        yield f"{entry.path}: {found.size_bytes} bytes, the manifest says {entry.size_bytes}; convert again"
    elif found != entry:
        pairs = zip(found.chunks, entry.chunks, strict=True)
        wrong = [str(index) for index, (left, right) in enumerate(pairs) if left != right]
        yield f"{entry.path}: SHA-256 differs in chunk {', '.join(wrong[:8])}; convert again"


def _graph(model_dir: Path, variant: manifest.Variant, content: manifest.Manifest) -> Iterator[str]:
    graph = load_graph(model_dir / variant.graph)
    try:
        onnx.checker.check_model(_checkable(model_dir / variant.graph))
    except onnx.checker.ValidationError as error:
        yield f"{variant.graph}: not valid ONNX: {str(error).splitlines()[0]}"
    folder = variant.graph.rpartition("/")[0]
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        place = {item.key: item.value for item in tensor.external_data}
        shard = f"{folder}/{place['location']}"
        start, length = int(place.get("offset", 0)), int(place["length"])
        if shard not in variant.shards or start + length > content.files[shard].size_bytes:
            yield f"{variant.graph}: tensor {tensor.name} lies outside of {shard}; convert again"
            continue
        spans.setdefault(shard, []).append((start, start + length, tensor.name))
    for shard, found in spans.items():
        found.sort()
        for (_, stop, first), (start, _, second) in pairwise(found):
            if start < stop:
                yield f"{shard}: tensors {first} and {second} overlap; convert again"


def _checkable(path: Path) -> onnx.ModelProto:
    """The model with the runtime's own operators moved to a domain of their own, where the checker lets them pass."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        if node.op_type in _RUNTIME_OPERATORS:
            node.domain = "com.microsoft"
    del model.graph.initializer[:]  # the checker would look for their data; spans are checked above
    known = {item.name for item in model.graph.input}
    made = {name for node in model.graph.node for name in node.output}
    for name in dict.fromkeys(name for node in model.graph.node for name in node.input):
        if name and name not in known and name not in made:
            model.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ()))
    return model


def _run(model_dir: Path, variant: manifest.Variant, vocab_size: int) -> Iterator[str]:
    from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession  # slow to import

    try:
        session = InferenceSession(model_dir / variant.graph, providers=["CPUExecutionProvider"])
        outputs = session.run(None, _inputs(session.get_inputs(), vocab_size))
    except Exception as error:  # onnxruntime's errors have no common public base
        yield f"{variant.graph}: onnxruntime refuses it: {str(error).splitlines()[0]}"
        return
    for item, value in zip(session.get_outputs(), outputs, strict=True):
        if not np.isfinite(np.asarray(value)).all():
            yield f"{variant.graph}: output {item.name} is not finite"


def _inputs(declared: Iterable[Any], vocab_size: int) -> dict[str, NDArray[Any]]:
    """Eight tokens, nothing cached."""
    tokens = 8
    feed: dict[str, NDArray[Any]] = {}
    for item in declared:
        if item.name == "input_ids":
            feed[item.name] = (np.arange(tokens, dtype=np.int64) % vocab_size)[None]
        elif item.name == "attention_mask":
            feed[item.name] = np.ones((1, tokens), np.int64)
        elif item.name == "num_logits_to_keep":
            feed[item.name] = np.array(1, np.int64)
        else:
            kind = np.float16 if "float16" in item.type else np.float32
            feed[item.name] = np.zeros((1, item.shape[1], 0, item.shape[3]), kind)
    return feed
