"""Owns manifest.json: the one Python module that builds, writes, reads and checks it; see manifest.schema.json."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from convert import __version__
from convert.dtypes import Dtype
from convert.errors import BadModelDirectory
from convert.kv_cache import KvCache
from convert.shards import CHUNK_BYTES, FileEntry

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

NAME = "manifest.json"
FORMAT = "featherweight-manifest"
VERSION = 1
LIMIT_BYTES = 8 << 20
"""A longer manifest is refused unread; the browser's reader has the same bound."""
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
"""What a model may be called: its directory's name, and a segment of its address."""
MESSAGE_LIMIT = 200
SHA256_DIGITS = 64
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """How token vectors become one embedding: ``mode`` is "mean" or "cls"."""

    mode: str
    normalize: bool
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is true of the model in every variant."""

    id: str
    name: str
    family: str
    task: str
    parameters: int
    license: str
    context_length: int
    vocab_size: int
    pooling: Pooling | None = None
    labels: tuple[str, ...] | None = None
    kv_cache: KvCache | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """Work of one operator class per token: bytes read and multiply-adds."""

    bytes: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run costs the browser's engine (graph.cost); ``per_token`` is keyed by operator class."""

    per_token: Mapping[str, OperatorCost]
    steps: int
    kv_bytes_per_token: int
    activation_bytes_per_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One graph: its file, its external data in order of first use, and what a token costs."""

    graph: str
    shards: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """What the pipeline knows of a variant; paths are relative to the model directory."""

    dtype: Dtype
    block_size: int | None
    """Weights per scale; None for the floating-point dtypes."""
    lossless_import: bool
    graph: str
    shards: tuple[str, ...]
    weight_bytes: int
    """Of all graphs."""
    cost: Cost
    """Of ``graph``, per token."""
    embedding_bits: int | None = None
    """Of embedding tables and output heads; None for the floating-point dtypes."""
    imports: Mapping[str, int] = field(default_factory=dict)
    """Number of block-quantized matrices by how they were made: kept, rounded again, or rounded from floats."""
    encoder: GraphSpec | None = None
    """The graph that runs once per text, before ``graph``: the encoder of an encoder-decoder."""

    @property
    def graphs(self) -> tuple[GraphSpec, ...]:
        """All graphs, in the order in which they run."""
        own = GraphSpec(graph=self.graph, shards=self.shards, cost=self.cost)
        return (self.encoder, own) if self.encoder else (own,)

    @property
    def own_files(self) -> tuple[str, ...]:
        """The files that no other variant uses: graphs and shards, in that order."""
        return tuple(path for each in self.graphs for path in (each.graph, *each.shards))


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(VariantSpec):
    """A variant as the manifest lists it."""

    files: tuple[str, ...]
    """Everything that a client fetches, in order: small files, graph, shards."""
    download_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole of manifest.json."""

    model: Model
    source: Mapping[str, str]
    files: Mapping[str, FileEntry]
    variants: tuple[Variant, ...]
    quality: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    converter_version: str = __version__

    def variant(self, dtype: str) -> Variant:
        """The variant of ``dtype``; raises BadModelDirectory naming those that exist."""
        for variant in self.variants:
            if variant.dtype == dtype:
                return variant
        have = ", ".join(variant.dtype for variant in self.variants)
        raise BadModelDirectory(f"model {self.model.id!r} has no variant {dtype!r}; it has: {have}")

    def to_bytes(self) -> bytes:
        """The bytes of manifest.json: sorted keys, indent 1, UTF-8, a trailing newline; same content, same bytes."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "chunk_size": CHUNK_BYTES,
            "model": asdict(self.model),
            "source": self.source,
            "converter": {"name": "featherweight", "version": self.converter_version},
            "files": {
                path: {"size_bytes": entry.size_bytes, "sha256": entry.sha256, "chunks": entry.chunks}
                for path, entry in self.files.items()
            },
            "variants": [asdict(variant) for variant in self.variants],
            "quality": self.quality,
        }
        return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, of plain dicts, lists and scalars."""
        document: dict[str, Any] = json.loads(self.to_bytes())
        return document


def build(
    *,
    model: Model,
    source: Mapping[str, str],
    files: Iterable[FileEntry],
    variants: Iterable[VariantSpec],
    quality: Mapping[str, Mapping[str, float | str]] | None = None,
) -> Manifest:
    """Assemble a manifest from what was written, and check it as strictly as one that is read.

    Files that no variant names as graph or shard are shared: every variant's client fetches them first, in the order
    of their paths. Raises BadModelDirectory when the parts contradict each other.
    """
    entries = {entry.path: entry for entry in files}
    specs = tuple(variants)
    owned = {path for spec in specs for path in spec.own_files}
    shared = sorted(entries.keys() - owned)
    listed = []
    for spec in specs:
        paths = (*shared, *spec.own_files)
        if missing := [path for path in paths if path not in entries]:
            raise BadModelDirectory(f"variant {spec.dtype} names {missing[0]!r}, which is not among the files written")
        own = {each.name: getattr(spec, each.name) for each in fields(VariantSpec)}
        sizes = {entries[path].sha256: entries[path].size_bytes for path in paths}
        listed.append(Variant(**own, files=paths, download_bytes=sum(sizes.values())))
    manifest = Manifest(model=model, source=source, files=entries, variants=tuple(listed), quality=quality or {})
    return parse(manifest.to_bytes())


def write(manifest: Manifest, directory: Path) -> Path:
    """Write manifest.json into ``directory`` atomically: temporary name, fsync, rename. Call it last.

    Raises OSError when the disk refuses; the temporary file is then removed.
    """
    target = directory / NAME
    temporary = directory / f".{NAME}.{os.getpid()}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(manifest.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


def load(path: Path) -> Manifest:
    """Read and check the manifest at ``path`` (the file, or the model directory that holds it).

    Raises BadModelDirectory when it is missing, too long, not JSON, off the schema or contradicts itself.
    """
    return parse(read(path), str(_file(path)))


def read(path: Path) -> bytes:
    """The bytes of the manifest at ``path`` (the file, or the model directory), at most LIMIT_BYTES, unchecked."""
    file = _file(path)
    if not file.is_file():
        raise BadModelDirectory(f"{file}: not found; a model directory is what 'featherweight convert' writes")
    try:
        with file.open("rb") as stream:
            data = stream.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise BadModelDirectory(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > LIMIT_BYTES:
        raise BadModelDirectory(f"{file}: longer than {LIMIT_BYTES} bytes, which no manifest is")
    return data


def parse(data: bytes, name: str = NAME) -> Manifest:
    """Check the bytes of a manifest and give it back typed; ``name`` goes into the error.

    Raises BadModelDirectory with the place in the document and what is wrong there.
    """

    def refuse(problem: str) -> NoReturn:
        raise BadModelDirectory(f"{name}: {problem}; convert the model again")

    try:
        document = json.loads(data, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refuse(f"not valid JSON: {error}")
    if isinstance(document, dict) and document.get("format") == FORMAT and document.get("version") != VERSION:
        refuse(f"version {document.get('version')!r} is not known to this reader, which knows {VERSION}")
    if problem := next(chain(_schema_violations(document), _contradictions(document)), None):
        refuse(problem)
    return _typed(document)


def is_model_directory(path: Path) -> bool:
    """Whether ``path`` holds a manifest of this format, in whatever state its files are."""
    try:
        document = json.loads(read(path))
    except (BadModelDirectory, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def revision(manifest: Path | bytes) -> str:
    """The revision under which a model is served: SHA-256 of the bytes of manifest.json, 64 hex digits.

    Takes the bytes, or the path of the file or of the model directory; raises BadModelDirectory as `read` does.
    """
    return hashlib.sha256(manifest if isinstance(manifest, bytes) else read(manifest)).hexdigest()


def _file(path: Path) -> Path:
    return path / NAME if path.is_dir() else path


@cache
def _validator() -> "Validator":
    from jsonschema import Draft202012Validator, validators  # slow to import; who only writes bytes never needs it

    def is_integer(_: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)  # JSON Schema alone would let 1.0 pass

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    strict: type[Validator] = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    return strict(json.loads(Path(__file__).with_name("manifest.schema.json").read_bytes()))


def _schema_violations(document: object) -> Iterator[str]:
    for error in _validator().iter_errors(document):
        message = error.message if len(error.message) <= MESSAGE_LIMIT else error.message[:MESSAGE_LIMIT] + "..."
        yield f"at {error.json_path}: {message}"


def _contradictions(document: dict[str, Any]) -> Iterator[str]:
    """What the schema cannot say: sums, references and exact patterns ('$' lets a last newline pass in Python)."""
    files = document["files"]
    for path, entry in files.items():
        where = f"at $.files[{path!r}]"
        if not _PATH.fullmatch(path):
            yield f"{where}: not a relative path of plain names"
        if folders := [str(folder) for folder in PurePosixPath(path).parents if str(folder) in files]:
            yield f"{where}: {folders[0]!r} is a file and a folder at once"
        if any(len(digest) != SHA256_DIGITS for digest in (entry["sha256"], *entry["chunks"])):
            yield f"{where}: a hash is not 64 hex digits"
        want = -(-entry["size_bytes"] // CHUNK_BYTES)
        if len(entry["chunks"]) != want:
            yield f"{where}: {entry['size_bytes']} bytes make {want} chunks, but {len(entry['chunks'])} are listed"
    if not MODEL_ID.fullmatch(document["model"]["id"]):
        yield "at $.model.id: not a plain name"
    dtypes = [variant["dtype"] for variant in document["variants"]]
    if len(set(dtypes)) != len(dtypes):
        yield "at $.variants: a dtype is listed twice"
    for variant in document["variants"]:
        where = f"at $.variants[{variant['dtype']}]"
        graphs = [variant, variant["encoder"]] if variant.get("encoder") else [variant]
        needed = [*variant["files"], *(path for each in graphs for path in (each["graph"], *each["shards"]))]
        if missing := [path for path in needed if path not in files]:
            yield f"{where}: {missing[0]!r} is not in $.files"
            continue
        if unfetched := [path for path in needed if path not in variant["files"]]:
            yield f"{where}: {unfetched[0]!r} is needed but not in the variant's files"
        total = sum({files[path]["sha256"]: files[path]["size_bytes"] for path in variant["files"]}.values())
        if variant["download_bytes"] != total:
            yield f"{where}: download_bytes is {variant['download_bytes']}, but its files add up to {total}"
    if unused := files.keys() - {path for variant in document["variants"] for path in variant["files"]}:
        yield f"at $.files[{min(unused)!r}]: no variant uses it"


def _typed(document: dict[str, Any]) -> Manifest:
    model = document["model"]
    labels = model["labels"]
    return Manifest(
        model=Model(
            **{
                **model,
                "pooling": _record(Pooling, model["pooling"]),
                "kv_cache": _record(KvCache, model["kv_cache"]),
                "labels": None if labels is None else tuple(labels),
            }
        ),
        source=document["source"],
        files={
            path: FileEntry(path, entry["size_bytes"], entry["sha256"], tuple(entry["chunks"]))
            for path, entry in document["files"].items()
        },
        variants=tuple(
            Variant(
                **{
                    **variant,
                    "dtype": Dtype(variant["dtype"]),
                    "shards": tuple(variant["shards"]),
                    "files": tuple(variant["files"]),
                    "cost": _cost(variant["cost"]),
                    "encoder": _encoder(variant.get("encoder")),
                }
            )
            for variant in document["variants"]
        ),
        quality=document["quality"],
        converter_version=document["converter"]["version"],
    )


def _cost(value: dict[str, Any]) -> Cost:
    per_token = {name: OperatorCost(**cost) for name, cost in value["per_token"].items()}
    return Cost(**{**value, "per_token": per_token})


def _encoder(value: dict[str, Any] | None) -> GraphSpec | None:
    if value is None:
        return None
    return GraphSpec(graph=value["graph"], shards=tuple(value["shards"]), cost=_cost(value["cost"]))


_Record = TypeVar("_Record", Pooling, KvCache)


def _record(kind: type[_Record], value: dict[str, Any] | None) -> _Record | None:
    return None if value is None else kind(**value)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
