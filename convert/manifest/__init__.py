"""Owns manifest.json: the one Python package that builds, writes, reads and checks it; see manifest.schema.json."""

from convert.kv_cache import KvCache
from convert.manifest.reading import LIMIT_BYTES, is_model_directory, load, parse, read, revision
from convert.manifest.records import (
    FORMAT,
    NAME,
    VERSION,
    Cost,
    GraphSpec,
    Manifest,
    Model,
    OperatorCost,
    Pooling,
    Variant,
    VariantSpec,
)
from convert.manifest.rules import MODEL_ID
from convert.manifest.writing import build, write

__all__ = [
    "FORMAT",
    "LIMIT_BYTES",
    "MODEL_ID",
    "NAME",
    "VERSION",
    "Cost",
    "GraphSpec",
    "KvCache",
    "Manifest",
    "Model",
    "OperatorCost",
    "Pooling",
    "Variant",
    "VariantSpec",
    "build",
    "is_model_directory",
    "load",
    "parse",
    "read",
    "revision",
    "write",
]
