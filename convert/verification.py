"""Checks a model directory against its manifest, its graphs against ONNX, and runs every variant once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.defs import OpSchema

from convert import manifest
from convert.errors import BadModelDirectory
from convert.inspection import load_graph, walk
from convert.progress import Progress
from convert.runtime import PAST, PRESENT, empty_cache, open_session
from convert.shards import CHUNK_BYTES, FileEntry, hash_file

PREFILL_TOKENS = 4
ENCODER_TOKENS = 8
_SHOWN_CHUNKS = 8
_PACKED_BITS: dict[int, int] = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4}


@dataclass(frozen=True)
class VerificationReport:
    """What was checked, the dtypes that ran, and every problem as one sentence; sound when there is none."""

    files: int
    size_bytes: int
    variants: list[str]
    problems: list[str]


def verify_model(model_dir: Path, progress: Progress, *, run: bool = True) -> VerificationReport:
    """Hash every file and chunk, look for stray files, check the graphs and run each variant in onnxruntime.

    A variant is checked and run unless one of its own files is damaged, so that one defect hides no other. Raises
    BadModelDirectory when there is no sound manifest, for then there is nothing to check against.
    """
    content = manifest.load(model_dir)
    problems = list(_stray(model_dir, content))
    damaged = set()
    progress.start("verify", sum(entry.size_bytes for entry in content.files.values()))
    for number, entry in enumerate(content.files.values(), start=1):
        progress.message(f"file {number} of {len(content.files)}: {entry.path}")
        if found := list(_hashes(model_dir / entry.path, entry, progress)):
            damaged.add(entry.path)
            problems += [f"{entry.path}: {problem}; convert again" for problem in found]
    ran = []
    for variant in content.variants:
        if damaged.intersection((variant.graph, *variant.shards)):
            continue
        found = list(_graph(model_dir, variant, content))
        if run and not found:
            progress.message(f"running {variant.dtype}")
            found = list(_run(model_dir, variant, content.model))
            ran.append(str(variant.dtype))
        problems += [f"{variant.graph}: {problem}; convert again" for problem in found]
    return VerificationReport(
        files=len(content.files),
        size_bytes=sum(entry.size_bytes for entry in content.files.values()),
        variants=ran,
        problems=problems,
    )


def _stray(model_dir: Path, content: manifest.Manifest) -> Iterator[str]:
    known = {*content.files, manifest.NAME}
    for path in sorted(model_dir.rglob("*")):
        name = path.relative_to(model_dir).as_posix()
        if name not in known and (path.is_symlink() or not path.is_dir()):
            yield f"{name}: not in the manifest; remove it or convert again"


def _hashes(path: Path, entry: FileEntry, progress: Progress) -> Iterator[str]:
    if path.is_symlink():
        yield "is a symbolic link, where onnxruntime wants the file itself"
    if not path.is_file():
        yield "is missing" if not path.exists() else "is not a file"
        return
    try:
        found = hash_file(path, entry.path, progress.advance)
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
        return
    if found.size_bytes != entry.size_bytes:
        yield f"{found.size_bytes} bytes, the manifest says {entry.size_bytes}"
    elif wrong := [index for index, chunk in enumerate(found.chunks) if chunk != entry.chunks[index]]:
        shown = ", ".join(map(str, wrong[:_SHOWN_CHUNKS])) + (", ..." if len(wrong) > _SHOWN_CHUNKS else "")
        yield f"SHA-256 differs in chunk {shown} (the first begins at byte {wrong[0] * CHUNK_BYTES})"
    elif found.sha256 != entry.sha256:
        yield f"SHA-256 is {found.sha256}, the manifest says {entry.sha256}"


def _graph(model_dir: Path, variant: manifest.Variant, content: manifest.Manifest) -> Iterator[str]:
    """What is wrong with the graph before it runs."""
    path = model_dir / variant.graph
    try:
        graph = load_graph(path)
        _know_runtime_operators()
        onnx.checker.check_model(path)
    except (BadModelDirectory, onnx.checker.ValidationError) as error:
        yield f"not valid ONNX: {_one_line(error)}"
        return
    sizes = {PurePosixPath(shard).name: content.files[shard].size_bytes for shard in variant.shards}
    spans: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for tensor in _tensors(graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place = {item.key: item.value for item in tensor.external_data}
        shard = place.get("location", "")
        if shard not in sizes:
            yield f"tensor {tensor.name} refers to {shard!r}, which is no shard of this variant"
            continue
        try:
            start = int(place.get("offset", 0))
            length = int(place.get("length", sizes[shard] - start))
        except ValueError:
            yield f"tensor {tensor.name} has an offset or a length that is no number"
            continue
        if length != (needed := _size_bytes(tensor)):
            yield f"tensor {tensor.name} needs {needed} bytes and refers to {length}"
        if min(start, length) < 0 or start + length > sizes[shard]:
            yield f"tensor {tensor.name} lies outside of {shard}: it ends at byte {start + length} of {sizes[shard]}"
        else:
            spans[shard].append((start, start + length, tensor.name))
    for shard in sizes:
        if not spans[shard]:
            yield f"no tensor lies in the shard {shard}"
        for (_, stop, first), (start, _, second) in pairwise(sorted(spans[shard])):
            if start < stop:
                yield f"tensors {first} and {second} overlap in {shard}"


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every constant of the graph, wherever it stands."""
    yield from graph.initializer
    for node in walk(graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from inner.initializer


def _size_bytes(tensor: TensorProto) -> int:
    """Length of the tensor's raw data."""
    bits = _PACKED_BITS.get(tensor.data_type)
    if bits is None:
        bits = 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return int(-(-prod(tensor.dims) * bits // 8))


def _know_runtime_operators() -> None:
    """Tell the ONNX checker of the one operator that ONNX Runtime adds to ONNX's own domain (its contrib_defs.cc)."""
    if onnx.defs.has("SimplifiedLayerNormalization"):
        return
    parameter, optional = OpSchema.FormalParameter, OpSchema.FormalParameterOption.Optional
    floats = ["tensor(float16)", "tensor(float)", "tensor(double)", "tensor(bfloat16)"]
    onnx.defs.register_schema(
        OpSchema(
            "SimplifiedLayerNormalization",
            "",
            1,
            inputs=[parameter("X", "T"), parameter("scale", "V")],
            outputs=[parameter("Y", "V"), parameter("inv_std_var", "U", param_option=optional)],
            type_constraints=[(name, floats, "") for name in "TUV"],
            attributes=[
                OpSchema.Attribute("axis", OpSchema.AttrType.INT, required=False),
                OpSchema.Attribute("epsilon", OpSchema.AttrType.FLOAT, required=False),
                OpSchema.Attribute("stash_type", OpSchema.AttrType.INT, required=False),
            ],
        )
    )


def _run(model_dir: Path, variant: manifest.Variant, model: manifest.Model) -> Iterator[str]:
    """What is wrong with a real run: PREFILL_TOKENS and one decode step, or one batch of an encoder."""
    try:
        session = open_session(model_dir / variant.graph)
        declared = session.get_inputs()
        if model.kv_cache is None:
            feed = _feed(declared, ENCODER_TOKENS, model.vocab_size)
            yield from _check_outputs("run", _outputs(session, feed), _encoder_shapes(model))
            return
        cache, past = empty_cache(declared), 0
        if len(cache) != 2 * model.kv_cache.layers:
            yield f"has {len(cache)} cache inputs, the manifest says {model.kv_cache.layers} layers"
        for phase, tokens in (("prefill", PREFILL_TOKENS), ("decode", 1)):
            feed = {**_feed(declared, tokens, model.vocab_size, past), **cache}
            outputs = _outputs(session, feed)
            past += tokens
            kv_shape = (1, model.kv_cache.kv_heads, past, model.kv_cache.head_dim)
            shapes = {name: kv_shape for name in outputs if name.startswith(PRESENT)}
            yield from _check_outputs(phase, outputs, {**shapes, "logits": (1, tokens, model.vocab_size)})
            cache = {name: outputs[PRESENT + name.removeprefix(PAST)] for name in cache}
    except Exception as error:  # onnxruntime's errors have no common public base
        yield f"onnxruntime refuses it: {_one_line(error)}"


def _encoder_shapes(model: manifest.Model) -> dict[str, tuple[int | None, ...]]:
    labels = len(model.labels or ())
    by_task: dict[str, dict[str, tuple[int | None, ...]]] = {
        "text-classification": {"logits": (1, labels)},
        "token-classification": {"logits": (1, ENCODER_TOKENS, labels)},
        "question-answering": {"start_logits": (1, ENCODER_TOKENS), "end_logits": (1, ENCODER_TOKENS)},
        "fill-mask": {"logits": (1, ENCODER_TOKENS, model.vocab_size)},
    }
    return by_task.get(model.task, {"last_hidden_state": (1, ENCODER_TOKENS, None)})


def _check_outputs(
    phase: str, outputs: dict[str, NDArray[Any]], shapes: dict[str, tuple[int | None, ...]]
) -> Iterator[str]:
    """``shapes`` names the outputs that must be there; None stands for any length."""
    for name in shapes.keys() - outputs.keys():
        yield f"{phase} gives no output {name}"
    for name, value in outputs.items():
        wanted = shapes.get(name, value.shape)
        if len(wanted) != value.ndim or any(
            want not in (None, have) for want, have in zip(wanted, value.shape, strict=True)
        ):
            yield f"{phase} gives {name} with shape {list(value.shape)}, expected {list(wanted)}"
        if not np.isfinite(value).all():
            yield f"{phase} gives {name} with values that are not finite"


def _feed(declared: Iterable[Any], tokens: int, vocab_size: int, past: int = 0) -> dict[str, NDArray[Any]]:
    """Some ``tokens`` ids after ``past`` others, without the cache."""
    feed = {
        "input_ids": (np.arange(1, tokens + 1, dtype=np.int64) % vocab_size)[None],
        "attention_mask": np.ones((1, past + tokens), np.int64),
        "token_type_ids": np.zeros((1, tokens), np.int64),
        "num_logits_to_keep": np.array(0, np.int64),
    }
    names = {item.name for item in declared}
    return {name: value for name, value in feed.items() if name in names}


def _outputs(session: Any, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    names: Sequence[str] = [item.name for item in session.get_outputs()]
    return {name: np.asarray(value) for name, value in zip(names, session.run(None, feed), strict=True)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
