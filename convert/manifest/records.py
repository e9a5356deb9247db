"""Owns what a manifest says: its records, and the bytes that they become."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from convert import __version__
from convert.dtypes import Dtype
from convert.errors import BadModelDirectory
from convert.kv_cache import KvCache
from convert.shards import CHUNK_BYTES, FileEntry

NAME = "manifest.json"
FORMAT = "featherweight-manifest"
VERSION = 1


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
    largest_tensor_bytes: int
    """Of the largest weight of any graph, all of its parts: what a GPU has to take in one buffer."""
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
