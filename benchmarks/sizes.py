"""Owns the sizes of the models: facts of their manifests, kept beside the results for those that no checkout has."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gemma_files import GEMMA, GEMMA_SMALLER
from benchmarks.model_files import DISTILBERT, MINILM, MODELS, ROOT, SMOLLM2
from benchmarks.results import COMMITTED
from convert import manifest as manifests

KEPT = COMMITTED / "sizes" / "models.json"
BUNDLED = (SMOLLM2, MINILM)
DIRECTORIES = {
    **{ROOT / "models" / name: name for name in BUNDLED},
    MODELS / DISTILBERT: DISTILBERT,
    MODELS / GEMMA: GEMMA,
    MODELS / GEMMA_SMALLER: GEMMA,
}
"""Model directories, with the name that their model has in results."""
PUBLISHED_LICENSES = {DISTILBERT: "apache-2.0", GEMMA: "Gemma Terms of Use"}
"""Of the weights that have the shapes which are measured with random ones."""


@dataclass(frozen=True)
class Size:
    """A variant of a model."""

    model: str
    parameters: int
    dtype: str
    embedding_bits: int | None
    """None where the embedding is like the rest."""
    download_bytes: int
    license: str


def of_directory(directory: Path, model: str) -> list[Size]:
    """The variants of a model directory, in the order of its manifest."""
    manifest = manifests.load(directory / manifests.NAME)
    facts = manifest.model
    shared = {"model": model, "license": PUBLISHED_LICENSES.get(model, facts.license), "parameters": facts.parameters}
    return [
        Size(**shared, dtype=item.dtype.value, embedding_bits=item.embedding_bits, download_bytes=item.download_bytes)
        for item in manifest.variants
    ]


def kept() -> list[Size]:
    """What was kept."""
    return [Size(**row) for row in json.loads(KEPT.read_text())] if KEPT.exists() else []


def collect() -> list[Size]:
    """Keep the sizes of all directories that are here, and those kept earlier of the others."""
    earlier = kept()
    found: list[Size] = []
    for model in dict.fromkeys(DIRECTORIES.values()):
        here = [directory for directory, name in DIRECTORIES.items() if name == model]
        if all((directory / manifests.NAME).exists() for directory in here):
            found += [size for directory in here for size in of_directory(directory, model)]
        else:
            found += [size for size in earlier if size.model == model]
    _keep(found)
    return found


def _keep(sizes: Iterable[Size]) -> None:
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps([asdict(size) for size in sizes], indent=1) + "\n")
