"""Checks a model directory against its manifest, its graphs against ONNX, and runs every variant once."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto
from onnx.defs import OpSchema

from convert import manifest
from convert.errors import BadModelDirectory
from convert.inspection import load_graph, walk
from convert.progress import Progress
from convert.shards import CHUNK_BYTES, FileEntry, hash_file
from convert.trial_run import trial_run

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
        if damaged.intersection(variant.own_files):
            continue
        found = [
            f"{each.graph}: {problem}; convert again"
            for each in variant.graphs
            for problem in _graph(model_dir, each, content)
        ]
        if run and not found:
            progress.message(f"running {variant.dtype}")
            found = [f"{variant.graph}: {problem}; convert again" for problem in trial_run(model_dir, variant, content)]
            ran.append(str(variant.dtype))
        problems += found
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


def _graph(model_dir: Path, spec: manifest.GraphSpec, content: manifest.Manifest) -> Iterator[str]:
    """What is wrong with a graph before it runs."""
    path = model_dir / spec.graph
    try:
        graph = load_graph(path)
        _know_runtime_operators()
        onnx.checker.check_model(path)
    except (BadModelDirectory, onnx.checker.ValidationError) as error:
        yield f"not valid ONNX: {_one_line(error)}"
        return
    sizes = {PurePosixPath(shard).name: content.files[shard].size_bytes for shard in spec.shards}
    spans: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for tensor in _tensors(graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place = {item.key: item.value for item in tensor.external_data}
        shard = place.get("location", "")
        if shard not in sizes:
            yield f"tensor {tensor.name} refers to {shard!r}, which is no shard of this graph"
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


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
